"""What a product team does all day, at random: uploads, new versions, cancellations, deletions, questions."""

import hashlib
import random
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.support import pdfs
from tests.support.waiting import wait_until

__all__ = ["Accepted", "Caller", "Document"]

_COLLECTIONS = ("papers", "letters")
_NAMES = 12
_MOST_PAGES = (1, 1, 3, 20, 120)
_ANSWER_SECONDS = 120
"""How long a caller tries the same request again: longer than any fault, and its own start, lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A job that the service has accepted: an upload if there is a marker, a word on each page, or a deletion."""

    job_id: str
    document_id: str
    marker: str = ""


@dataclass(slots=True, kw_only=True)
class Document:
    """All that was accepted of a name, in this order; `latest` are the bytes of its newest upload."""

    accepted: list[Accepted] = field(default_factory=list)
    latest: bytes = b""


class Caller:
    """One caller that gets an answer to each request before the next, however often it has to ask.

    Parameters
    ----------
    dice
        Decides what comes next.
    """

    def __init__(self, client: httpx2.Client, dice: random.Random) -> None:
        self._client = client
        self._dice = dice
        self.documents = {(collection, f"{n}.pdf"): Document() for collection in _COLLECTIONS for n in range(_NAMES)}
        self.other_jobs: list[str] = []

    def act(self) -> None:
        """Do one thing."""
        actions = [self._upload] * 20 + [self._upload_again, self._delete, self._cancel, self._ask] * 4 + [self._drop]
        name = self._dice.choice(list(self.documents))
        self._dice.choice(actions)(name)

    def _upload(self, name: tuple[str, str]) -> None:
        marker = f"marker{self._dice.getrandbits(40):010x}"
        seed, pages = self._dice.getrandbits(30), self._dice.randint(1, self._dice.choice(_MOST_PAGES))
        self._send(name, pdfs.long_text_pdf(pages, seed, marker=marker), marker)

    def _upload_again(self, name: tuple[str, str]) -> None:
        document = self.documents[name]
        markers = [accepted.marker for accepted in document.accepted if accepted.marker]
        if markers:
            self._send(name, document.latest, markers[-1])

    def _send(self, name: tuple[str, str], data: bytes, marker: str) -> None:
        collection, file = name
        path = f"/v1/collections/{collection}/documents"
        reply = self._request("POST", path, 202, 409, files={"file": (file, data)})
        if reply.get("code") == "conflict":  # the collection is being deleted
            return
        document = self.documents[name]
        document.accepted.append(Accepted(job_id=reply["job_id"], document_id=reply["document_id"], marker=marker))
        document.latest = data

    def _delete(self, name: tuple[str, str]) -> None:
        document = self.documents[name]
        if not document.accepted:
            return
        newest = document.accepted[-1]
        good = (202,) if newest.marker else (202, 404)
        reply = self._request("DELETE", f"/v1/documents/{newest.document_id}", *good)
        if "job_id" in reply:
            document.accepted.append(Accepted(job_id=reply["job_id"], document_id=newest.document_id))

    def _drop(self, name: tuple[str, str]) -> None:
        inside = [document.accepted for (collection, _), document in self.documents.items() if collection == name[0]]
        uploaded = [accepted for accepted in inside if accepted and accepted[-1].marker]
        good = (202,) if uploaded else (202, 404)
        reply = self._request("DELETE", f"/v1/collections/{name[0]}", *good)
        for accepted in uploaded:
            accepted.append(Accepted(job_id=reply["job_id"], document_id=accepted[-1].document_id))

    def _cancel(self, name: tuple[str, str]) -> None:
        accepted = self.documents[name].accepted
        if accepted:
            self._request("DELETE", f"/v1/jobs/{accepted[-1].job_id}", 202, 409)

    def _ask(self, name: tuple[str, str]) -> None:
        body = {"question": f"What does {name[1]} say of {self._dice.random()}?"}
        path = f"/v1/collections/{name[0]}/queries"
        reply = self._request("POST", path, 202, 404, json=body, headers={"Prefer": "respond-async"})
        if "job_id" in reply:
            self.other_jobs.append(reply["job_id"])

    def _request(self, method: str, path: str, *good: int, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - of `httpx2`
        key = hashlib.sha256(self._dice.randbytes(16)).hexdigest()
        headers = {**options.pop("headers", {}), "Idempotency-Key": key}
        answer: dict[str, Any] = {}

        def answered() -> bool:
            try:
                reply = self._client.request(method, path, headers=headers, **options)
            except httpx2.TransportError:
                return False
            assert reply.status_code in {*good, 429, 503}, f"{method} {path}: {reply.status_code} {reply.text}"
            if reply.status_code in good:
                answer.update(reply.json())
            return reply.status_code in good

        wait_until(answered, timeout_seconds=_ANSWER_SECONDS, interval_seconds=0.2)
        return answer
