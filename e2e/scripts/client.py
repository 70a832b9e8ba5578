"""Asks one thing through the ingress again and again, from a pod: SECONDS METHOD PATH PAUSE [KEY].

Prints when it asked, the status, the headers (names in lower case) and the problem's code of each answer, as JSON.
"""

import json
import sys
import time
import urllib.error
import urllib.request
from email.message import Message

INGRESS = "http://traefik.traefik"
HEADERS = {"Host": "ragline.test", "Content-Type": "application/json"}


def call(method: str, path: str, key: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and code; no code where it was not the service that answered."""
    body = b"{}" if method == "POST" else None
    headers = {**HEADERS, **({"X-API-Key": key} if key else {})}
    request = urllib.request.Request(f"{INGRESS}{path}", data=body, headers=headers, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310 - the address is ours
            return reply.status, lowered(reply.headers), ""
    except urllib.error.HTTPError as error:
        is_problem = error.headers.get_content_type() == "application/problem+json"
        return error.code, lowered(error.headers), json.load(error)["code"] if is_problem else ""


def lowered(headers: Message) -> dict[str, str]:
    """Headers whose names do not depend on who passed them on."""
    return {name.lower(): value for name, value in headers.items()}


def main(seconds: float, method: str, path: str, pause: float, key: str) -> None:
    """Ask until the time is over."""
    seen: list[tuple[float, int, dict[str, str], str]] = []
    started = time.monotonic()
    while not seen or time.monotonic() - started < seconds:
        seen.append((round(time.monotonic() - started, 2), *call(method, path, key)))
        time.sleep(pause)
    print(json.dumps(seen))


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4]), "".join(sys.argv[5:]))
