"""What `helm test` runs: uploads a PDF, asks a question, checks that the answer cites the right page, deletes the PDF.

Only the standard library, so that it runs in any Python image. Exit status 0: every step worked.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
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
DEADLINE_SECONDS = 240


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
    headers = {"Content-Type": media_type}
    if KEYS_FILE.is_file():
        headers["X-API-Key"] = KEYS_FILE.read_text().split(",")[0].strip()
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
    deletion = finished(call("DELETE", f"/v1/documents/{upload['document_id']}")["job_id"])
    say(f"deleted: {deletion['status']}")
    sys.exit(None if deletion["status"] == "succeeded" else f"the deletion {deletion['status']}: {deletion['error']}")


STARTED = time.monotonic()

if __name__ == "__main__":
    main()
