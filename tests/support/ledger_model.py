"""What the ledger should do, in plain Python: the yardstick of `test_ledger_model.py`. One tenant, one collection."""

from collections import Counter
from dataclasses import dataclass, field

from ragline.common.constants import MAX_ATTEMPTS, MAX_CRASHES
from ragline.common.models import DocumentState, JobState
from ragline.common.queues import FIRST_STEP, JobKind, Step

__all__ = ["CHUNKS", "DocumentModel", "JobModel", "LedgerModel"]

CHUNKS = {"a": 3, "b": 5, "c": 7}
"""Chunks by content of an upload."""

_WHILE = {
    Step.CONVERT: DocumentState.CONVERTING,
    Step.SPLIT: DocumentState.SPLITTING,
    Step.INDEX: DocumentState.INDEXING,
}


@dataclass(kw_only=True)
class JobModel:
    """A job; `expired` and `due` say that its lease or delay is over, `committed` that its upload is visible.

    `promised` is the generation that will contain its upload.
    """

    id: str
    kind: JobKind
    step: Step
    document: str = ""
    version: int = 0
    content: str = ""
    state: JobState = JobState.QUEUED
    step_state: str = "queued"
    token: str = "0"
    claims: int = 0
    attempts: int = 0
    crashes: int = 0
    interruptions: int = 0
    error: str = ""
    cancel: bool = False
    expired: bool = False
    due: bool = False
    committed: bool = False
    promised: int = 0
    span: str = ""

    def queue_again(self) -> None:
        """A message of it waits."""
        self.step_state, self.expired, self.due = "queued", False, False


@dataclass(kw_only=True)
class DocumentModel:
    """A document; `named` says that an upload of its name is a new version of it."""

    id: str
    name: str
    content: str = ""
    state: DocumentState = DocumentState.ACCEPTED
    version: int = 0
    accepted: int = 0
    job: str = ""
    chunks: int = 0
    error: str = ""
    named: bool = True


@dataclass(kw_only=True)
class LedgerModel:
    """All of the ledger."""

    jobs: dict[str, JobModel] = field(default_factory=dict)
    documents: dict[str, DocumentModel] = field(default_factory=dict)
    outcomes: Counter[tuple[Step, str]] = field(default_factory=Counter)
    redispatches: Counter[str] = field(default_factory=Counter)
    generation: int = 0
    promised: int = 0

    def pending(self) -> set[str]:
        """Uploads that are neither visible nor at their end."""
        return {job.id for job in self.jobs.values() if job.promised and not job.committed and not job.state.final}

    def named(self, name: str) -> DocumentModel | None:
        """The document that has the name now."""
        return next(
            (document for document in self.documents.values() if document.named and document.name == name), None
        )

    def upload_joins(self, name: str, content: str) -> str:
        """The open job that does the same already, or an empty string."""
        document = self.named(name)
        if document is None or document.content != content:
            return ""
        job = self.jobs[document.job]
        return "" if job.state.final or job.cancel or job.committed else job.id

    def upload_is_unchanged(self, name: str, content: str) -> bool:
        """Whether these bytes are what answers questions already."""
        document = self.named(name)
        return (
            document is not None
            and document.content == content
            and document.state is DocumentState.INDEXED
            and document.version == document.accepted
        )

    def upload(self, name: str, content: str, *, job_id: str, document_id: str) -> None:
        """Accept a new version."""
        document = self.named(name)
        if document is None:
            document = self.documents[document_id] = DocumentModel(id=document_id, name=name)
        self._supersede(document)
        document.accepted += 1
        document.content, document.state, document.job, document.error = content, DocumentState.ACCEPTED, job_id, ""
        self.jobs[job_id] = JobModel(
            id=job_id,
            kind=JobKind.INGEST,
            step=Step.CONVERT,
            document=document.id,
            version=document.accepted,
            content=content,
            promised=max(self.promised, self.generation) + 1,
        )
        self.promised = self.jobs[job_id].promised

    def upload_unchanged(self, name: str, *, job_id: str) -> None:
        """Accept an upload that needs no work."""
        document = self.named(name)
        assert document is not None
        job = JobModel(id=job_id, kind=JobKind.INGEST, step=Step.INDEX, document=document.id, version=document.version)
        job.state, job.step_state = JobState.SUCCEEDED, "done"
        self.jobs[job_id] = job

    def submit(self, kind: JobKind, *, job_id: str) -> None:
        """Accept a job without a document."""
        self.jobs[job_id] = JobModel(id=job_id, kind=kind, step=FIRST_STEP[kind])

    def delete(self, document_id: str, *, job_id: str) -> None:
        """Accept a delete."""
        document = self.documents[document_id]
        self._supersede(document)
        self.generation += document.version > 0
        document.state, document.job, document.version, document.chunks = DocumentState.DELETING, job_id, 0, 0
        document.named, document.error = False, ""
        self.jobs[job_id] = JobModel(id=job_id, kind=JobKind.DELETE, step=Step.DELETE, document=document_id)

    def cancel(self, job_id: str) -> bool:
        """Ask a job to end; False when it may not."""
        job = self.jobs[job_id]
        if job.state.final or job.committed:
            return True
        if job.kind is JobKind.DELETE:
            return False
        if job.step_state == "leased":
            job.cancel = True
        else:
            self._end_cancelled(job, "cancelled")
        return True

    def claim(self, job_id: str, step: Step, span: str = "") -> bool:
        """Whether a worker with this message gets the claim."""
        job = self.jobs[job_id]
        if job.state.final or job.step is not step or job.step_state == "delayed":
            return False
        if job.step_state == "leased" and (not job.expired or not self._crash(job)):
            return False
        if job.attempts >= MAX_ATTEMPTS:
            self._end_failed(job, "attempts_exhausted")
            return False
        job.attempts += 1
        job.claims += 1
        job.state, job.step_state, job.expired, job.span = JobState.RUNNING, "leased", False, span
        if job.kind is JobKind.INGEST and not job.committed:
            self.documents[job.document].state = _WHILE[step]
        return True

    def may(self, job_id: str, token: str) -> str:
        """What an effect with this token is answered; a cancelled job ends by it."""
        job = self.jobs[job_id]
        if job.token == token and job.state is JobState.CANCELLED:
            return "cancelled"
        if job.step_state != "leased" or job.token != token:
            return "lost"
        if job.cancel:
            self._end_cancelled(job, "cancelled")
            return "cancelled"
        return "ok"

    def advance(self, job_id: str, step: Step) -> None:
        job = self.jobs[job_id]
        self._end_claim(job, "done")
        job.step, job.attempts, job.crashes, job.interruptions, job.error = step, 0, 0, 0, ""
        job.span = ""
        job.queue_again()

    def commit(self, job_id: str) -> None:
        job = self.jobs[job_id]
        document = self.documents[job.document]
        if not job.committed:
            self.generation = max(self.generation + 1, job.promised)
        job.committed = True
        document.version, document.state, document.chunks = job.version, DocumentState.INDEXED, CHUNKS[job.content]

    def fail(self, job_id: str, code: str) -> None:
        self._end_failed(self.jobs[job_id], code)

    def finish(self, job_id: str) -> None:
        job = self.jobs[job_id]
        job.error = ""
        if job.kind is JobKind.DELETE:
            self.documents[job.document].state = DocumentState.DELETED
        self._end(job, JobState.SUCCEEDED)

    def hand_back(self, job_id: str, *, interrupted: bool, progressed: bool) -> None:
        job = self.jobs[job_id]
        self._end_claim(job, "interrupted" if interrupted else "handed_back")
        if interrupted:
            job.interruptions += 1
            job.attempts -= 1
        if progressed:
            job.attempts, job.crashes = 0, 0
        job.queue_again()

    def retry(self, job_id: str, code: str) -> bool:
        job = self.jobs[job_id]
        if job.attempts >= MAX_ATTEMPTS:
            self._end_failed(job, "attempts_exhausted")
            return False
        self._end_claim(job, "retried")
        job.step_state, job.error, job.expired = "delayed", code, False
        return True

    def sweep(self) -> tuple[int, int]:
        """Numbers of expired leases and due retries."""
        expired = [job for job in self.jobs.values() if job.step_state == "leased" and job.expired]
        due = [job for job in self.jobs.values() if job.step_state == "delayed" and job.due]
        again = [job for job in expired if self._crash(job)]
        self.redispatches.update({"lease_expired": len(again), "retry_due": len(due)})
        for job in again + due:
            job.queue_again()
        return len(expired), len(due)

    def _crash(self, job: JobModel) -> bool:
        self._end_claim(job, "lost")
        job.step_state = "lost"
        job.crashes += 1
        if job.cancel:
            self._end_cancelled(job, "cancelled")
        elif job.crashes >= MAX_CRASHES:
            self._end_failed(job, "quarantined")
        return not job.state.final

    def _end(self, job: JobModel, state: JobState) -> None:
        self._end_claim(job, "done" if state is JobState.SUCCEEDED else str(state))
        job.state, job.step_state = state, "done"

    def _end_claim(self, job: JobModel, outcome: str) -> None:
        if job.step_state == "leased":
            self.outcomes[job.step, outcome] += 1

    def _end_cancelled(self, job: JobModel, code: str) -> None:
        job.error = code
        if job.kind is JobKind.INGEST:
            document = self.documents[job.document]
            document.state = DocumentState.INDEXED if document.version else DocumentState.CANCELLED
            document.error = code
        self._end(job, JobState.CANCELLED)

    def _end_failed(self, job: JobModel, code: str) -> None:
        job.error = code
        if job.document:
            document = self.documents[job.document]
            document.state = DocumentState.INDEXED if job.committed else DocumentState.FAILED
            document.error = code
        self._end(job, JobState.FAILED)

    def _supersede(self, document: DocumentModel) -> None:
        if document.job and not self.jobs[document.job].state.final:
            self._end_cancelled(self.jobs[document.job], "superseded")
