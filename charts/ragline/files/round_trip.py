"""What `helm test` runs: uploads a PDF, asks a question, checks that the answer cites the right page, deletes it all.

Where every caller needs a key and the chart was given none, it makes one with the image's own `ragline keys` and
revokes it at the end. Exit status 0: every step worked.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PAGES = (
    "Ragline was installed on this cluster a moment ago. This page says nothing else.",
    "The lighthouse keeper paints the tower bright green every spring.",
    "Visitors may climb the tower on Sundays between ten and four.",
)
QUESTION = "Which colour does the lighthouse keeper paint the tower?"
RIGHT_PAGE = 2

API_URL = os.environ["API_URL"]
KEYS_FILE = Path("/run/secrets/ragline/api_keys")
KEY_LIFETIME = "10m"
DEADLINE_SECONDS = 240

NO_REDIS = 3
"""Exit status of `ragline keys`."""

credentials: dict[str, str] = {}
"""Headers of every request."""


def pdf(pages: tuple[str, ...]) -> bytes:
    """A PDF with one line of text per page (ISO 32000-1, annex H.2)."""
    kids = " ".join(f"{3 + 2 * number} 0 R" for number in range(len(pages)))
    font = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>"]
    for number, text in enumerate(pages):
        content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        page = f"/Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources {font} /Contents {4 + 2 * number} 0 R"
        objects += [f"<< {page} >>", f"<< /Length {len(content)} >>\nstream\n{content}\nendstream"]
    file, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(file))
        file += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    trailer = f"trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{len(file)}\n%%EOF\n"
    return file + f"xref\n0 {size}\n0000000000 65535 f \n{table}{trailer}".encode()


def call(method: str, path: str, body: bytes | None = None, media_type: str = "application/json") -> dict[str, Any]:
    """One request; a service that is still starting is asked again until the deadline."""
    headers = {"Content-Type": media_type, **credentials}
    request = urllib.request.Request(f"{API_URL}{path}", data=body, method=method, headers=headers)  # noqa: S310
    while True:
        try:
            with urllib.request.urlopen(request, timeout=90) as reply:  # noqa: S310 - the address is the chart's own
                answer: dict[str, Any] = json.load(reply)
                return answer
        except urllib.error.HTTPError as error:
            if error.code not in {502, 503} or too_late():
                sys.exit(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}")
        except OSError as error:
            if too_late():
                sys.exit(f"{method} {path}: {error}")
        time.sleep(1)


def finished(job_id: str) -> dict[str, Any]:
    """The job once it has ended."""
    while not too_late():
        job = call("GET", f"/v1/jobs/{job_id}?wait=20")
        if job["status"] not in {"queued", "running"}:
            return job
        say(f"{job['step']}: {job['next']}")
    sys.exit(f"job {job_id} did not end within {DEADLINE_SECONDS} s")


def keys(*arguments: str) -> dict[str, Any]:
    """What `ragline keys` says; a network that does not know this pod yet is tried again."""
    while True:
        done = subprocess.run(["ragline", "keys", *arguments, "--json"], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            answer: dict[str, Any] = json.loads(done.stdout)
            return answer
        if done.returncode != NO_REDIS or too_late():
            sys.exit(f"ragline keys {arguments[0]}: {done.stderr}")
        time.sleep(1)


@contextmanager
def allowed() -> Iterator[None]:
    """Requests carry a key where one is needed: one of the chart's, or one that lives as long as this test."""
    if KEYS_FILE.is_file():
        credentials["X-API-Key"] = KEYS_FILE.read_text().split(",")[0].strip()
    if os.environ.get("MAKE_KEY") != "true":
        yield
        return
    unlimited = ("--general-per-minute", "0", "--rag-per-minute", "0")
    made = keys("create", "--name", "helm test", "--tenant", "helm-test", "--expires-in", KEY_LIFETIME, *unlimited)
    say(f"made a key: {made['id']}")
    credentials["X-API-Key"] = made["key"]
    try:
        yield
    finally:
        say(f"the key is {keys('revoke', made['id'])['state']}")


def say(line: str) -> None:
    """A line of the log, with the seconds since the start."""
    print(f"{time.monotonic() - STARTED:6.1f} s  {line}", flush=True)


def too_late() -> bool:
    """Whether there is no time left."""
    return time.monotonic() > STARTED + DEADLINE_SECONDS


def main() -> None:
    """The round trip."""
    collection = f"helm-test-{os.urandom(4).hex()}"
    upload = call("POST", f"/v1/collections/{collection}/documents?name=lighthouse.pdf", pdf(PAGES), "application/pdf")
    say(f"uploaded: {upload['document_id']}, {upload['job_id']}")
    job = finished(upload["job_id"])
    if job["status"] != "succeeded":
        sys.exit(f"the upload {job['status']}: {job['error']}")
    say("indexed")
    answer = call("POST", f"/v1/collections/{collection}/queries", json.dumps({"question": QUESTION}).encode())
    say(f"answer: {answer['answer']}")
    first = answer["citations"][0]
    say(f"first citation: {first['document']}, page {first['page']}")
    if first["page"] != RIGHT_PAGE or "green" not in answer["answer"]:
        sys.exit(f"the answer should say green and cite page {RIGHT_PAGE}")
    deletion = finished(call("DELETE", f"/v1/collections/{collection}")["job_id"])
    say(f"deleted: {deletion['status']}")
    if deletion["status"] != "succeeded":
        sys.exit(f"the deletion {deletion['status']}: {deletion['error']}")


STARTED = time.monotonic()

if __name__ == "__main__":
    with allowed():
        main()
