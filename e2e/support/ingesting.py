"""Uploads in the states the rows need."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from e2e.support.api import Api
from e2e.support.release import Release
from ragline.cli.replies import Submission
from tests.support import pdfs

__all__ = ["all_indexed", "being_indexed", "check_exactly_once", "indexed", "upload_long", "upload_notes"]

_LONG_PAGES = 400
"""About 1,350 chunks: half a minute of embedding and more on two cores, and so more than one step's budget."""

_UPLOADS_AT_ONCE = 4


def being_indexed(release: Release, api: Api, collection: str) -> Submission:
    """A long document in the middle of its step on the queue `vectorstore`."""
    submission = upload_long(api, collection)

    def in_the_middle() -> bool:
        job = api.job(submission.job_id)
        assert job["finished_at"] is None, job
        return bool(job["step"] == "index" and job["worker"] and 0 < job["progress"]["done"] < job["progress"]["total"])

    release.kubectl.wait(in_the_middle, timeout_seconds=120)
    return submission


def upload_long(api: Api, collection: str) -> Submission:
    """Upload a document that keeps a worker of `vectorstore` busy for longer than a step's budget."""
    return api.put(collection, "long.pdf", pdfs.long_text_pdf(_LONG_PAGES, seed=1))


def upload_notes(api: Api, collection: str, count: int) -> list[Submission]:
    """Upload that many small documents, some at the same time; each is accepted."""

    def upload(number: int) -> Submission:
        text = f"Note {number} of this collection says that locker {number} holds {number * 7} keys."
        return api.put(collection, f"note-{number}.pdf", pdfs.text_pdf([text]))

    with ThreadPoolExecutor(_UPLOADS_AT_ONCE) as threads:
        return list(threads.map(upload, range(count)))


def all_indexed(api: Api, submissions: Iterable[Submission], *, timeout_seconds: float) -> None:
    """Wait for the end of all jobs; each must have succeeded."""
    for submission in submissions:
        job = api.ended(submission.job_id, timeout_seconds=timeout_seconds)
        assert job["status"] == "succeeded", job


def indexed(api: Api, collection: str) -> set[str]:
    """Ids of a collection's documents that can be asked about."""
    return {document["id"] for document in api.documents(collection) if document["state"] == "indexed"}


def check_exactly_once(api: Api, collection: str, submissions: Iterable[Submission]) -> None:
    """Each accepted document is there, indexed, once, and Chroma holds what the manifests say."""
    documents = api.documents(collection)
    accepted = {submission.document_id for submission in submissions}
    assert len(documents) == len(accepted)
    assert {document["id"] for document in documents} == accepted
    assert {(document["state"], document["version"]) for document in documents} == {("indexed", 1)}
    report = api.verified(collection)
    assert report.consistent, report
    assert (report.documents, report.chunks) == (len(documents), sum(document["chunks"] for document in documents))
