"""Asks one thing through the ingress again and again, from a pod: SECONDS METHOD PATH PAUSE.

Prints when it asked, the status and the headers of each answer, as JSON.
"""

import json
import sys
import time
import urllib.error
import urllib.request

INGRESS = "http://traefik.traefik"
HEADERS = {"Host": "ragline.test", "Content-Type": "application/json"}


def call(method: str, path: str) -> tuple[int, dict[str, str]]:
    """Status and headers."""
    body = b"{}" if method == "POST" else None
    request = urllib.request.Request(f"{INGRESS}{path}", data=body, headers=HEADERS, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310 - the address is ours
            return reply.status, dict(reply.headers)
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers)


def main(seconds: float, method: str, path: str, pause: float) -> None:
    """Ask until the time is over."""
    seen: list[tuple[float, int, dict[str, str]]] = []
    started = time.monotonic()
    while not seen or time.monotonic() - started < seconds:
        seen.append((round(time.monotonic() - started, 2), *call(method, path)))
        time.sleep(pause)
    print(json.dumps(seen))


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4]))
