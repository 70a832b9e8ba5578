"""Uploads notes and asks about them, from a pod, for a while: SECONDS PDF (base64).

Prints what it accepted, and status and reply of what failed, as JSON.
"""

import base64
import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any

API = "http://ragline-api"
UPLOADS = "/v1/collections/load/documents"
QUERIES = "/v1/collections/load/queries"
QUESTION = json.dumps({"question": "What does the note say?"}).encode()
QUESTIONS_FROM = 5
"""Uploads before the first question: a collection is there from its first upload on."""


def post(path: str, body: bytes, media_type: str) -> tuple[int, Any]:
    """Status and reply; 0 when there was no answer."""
    request = urllib.request.Request(f"{API}{path}", data=body, headers={"Content-Type": media_type})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=90) as reply:  # noqa: S310 - the address is ours
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)


def main(seconds: float, pdf: bytes) -> None:
    """Upload and ask until the time is over."""
    documents: list[str] = []
    failures: list[tuple[float, str, int, Any]] = []
    requests = 0
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        # Bytes after the end of a PDF make it another document and mean nothing.
        body = b"%s%%%d\n" % (pdf, requests)
        calls = [(f"{UPLOADS}?name=note-{requests}.pdf", body, "application/pdf")]
        if len(documents) >= QUESTIONS_FROM:
            calls.append((QUERIES, QUESTION, "application/json"))
        for call in calls:
            requests += 1
            status, reply = post(*call)
            if status == 202:
                documents.append(reply["document_id"])
            elif status != 200:
                failures.append((round(time.monotonic() - started, 1), call[0], status, reply))
        time.sleep(0.2)
    print(json.dumps({"requests": requests, "documents": documents, "failures": failures}))


if __name__ == "__main__":
    main(float(sys.argv[1]), base64.b64decode(sys.argv[2]))
