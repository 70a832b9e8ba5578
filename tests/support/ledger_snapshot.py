"""All that a server holds of a ledger at one moment, and what must hold of it at every moment."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ragline.common.constants import DEFAULT_TENANT
from ragline.common.models import DocumentState
from ragline.common.queues import JobKind, Queue
from ragline.stores.ledger import scripts
from ragline.stores.ledger.keys import (
    collection_key,
    document_key,
    documents_key,
    held_key,
    job_key,
    metrics_key,
)
from ragline.stores.ledger.records import document_record, job_record
from tests.support.ledger import COLLECTION, Client, queued_key, step_message
from tests.support.ledger_counts import check_counts
from tests.support.ledger_model import LedgerModel

__all__ = ["Snapshot", "check_against", "check_changes", "check_sweep", "take_snapshot"]

_UNDER_WAY = {DocumentState.CONVERTING, DocumentState.SPLITTING, DocumentState.INDEXING}
_DOCUMENT_STATES = {
    "queued": {DocumentState.ACCEPTED, *_UNDER_WAY},
    "leased": _UNDER_WAY,
    "delayed": _UNDER_WAY,
    "done": {DocumentState.INDEXED, DocumentState.FAILED, DocumentState.CANCELLED},
}
"""What a document may be in while its newest upload is not visible, by the state of that job's step."""

_FINAL = {"succeeded", "failed", "cancelled"}
_GONE = {DocumentState.DELETING, DocumentState.DELETED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Rows as Redis holds them; `queued` are scores by queue and job, `messages` job ids, the next one first.

    `held` are the jobs that wait for a place on a queue, `own` those of the one tenant that have one.
    """

    jobs: Mapping[str, Mapping[str, str]]
    documents: Mapping[str, Mapping[str, str]]
    collection: Mapping[str, str]
    listed: frozenset[str]
    leases: Mapping[str, float]
    delayed: Mapping[str, float]
    queued: Mapping[Queue, Mapping[str, float]]
    messages: Mapping[Queue, list[str]]
    held: Mapping[Queue, frozenset[str]]
    own: Mapping[Queue, frozenset[str]]
    pending: frozenset[str]
    metrics: Mapping[str, str]

    @property
    def filled(self) -> list[Queue]:
        """Queues with messages."""
        return [queue for queue in Queue if self.messages[queue]]

    @property
    def longest(self) -> int:
        """Length of the longest list."""
        return max(map(len, self.messages.values()))


def take_snapshot(client: Client, model: LedgerModel) -> Snapshot:
    """Read all in one round trip."""
    pipe = client.pipeline()
    for key in (*map(job_key, model.jobs), *map(document_key, model.documents)):
        pipe.hgetall(key)
    pipe.hgetall(collection_key(DEFAULT_TENANT, COLLECTION))
    pipe.zrange(documents_key(DEFAULT_TENANT, COLLECTION), 0, -1)
    for key in ("ragline:leases", "ragline:delayed", *map(queued_key, Queue)):
        pipe.zrange(key, 0, -1, withscores=True)
    for queue in Queue:
        pipe.lrange(queue, 0, -1)
    for name_of in (held_key, _own_held_key, _own_queued_key):
        for queue in Queue:
            pipe.zrange(name_of(queue), 0, -1)
    pipe.zrange(f"{collection_key(DEFAULT_TENANT, COLLECTION)}:pending", 0, -1)
    pipe.hgetall(metrics_key())
    answers = iter(pipe.execute())
    return Snapshot(
        jobs={job_id: next(answers) for job_id in model.jobs},
        documents={document_id: next(answers) for document_id in model.documents},
        collection=next(answers),
        listed=frozenset(next(answers)),
        leases=dict(next(answers)),
        delayed=dict(next(answers)),
        queued={queue: dict(next(answers)) for queue in Queue},
        messages={queue: [step_message(raw).job_id for raw in reversed(next(answers))] for queue in Queue},
        held=_held(answers),
        own={queue: frozenset(next(answers)) for queue in Queue},
        pending=frozenset(next(answers)),
        metrics=next(answers),
    )


def check_against(model: LedgerModel, seen: Snapshot) -> None:
    """The server holds what the model says, and its parts agree with each other."""
    _check_jobs(model, seen)
    _check_indexes(seen)
    _check_documents(model, seen)
    check_counts(model, seen)
    assert seen.pending == model.pending()
    chunks = sum(int(row["chunks"]) for row in seen.documents.values())
    if seen.collection:
        assert (int(seen.collection["chunks"]), int(seen.collection["generation"])) == (chunks, model.generation)


def check_changes(before: Snapshot, now: Snapshot) -> None:
    """What may never happen from one moment to the next."""
    for job_id, row in before.jobs.items():
        if row["state"] in _FINAL:
            assert now.jobs[job_id] == row, "a job changed after its end"
        assert int(now.jobs[job_id]["token"]) >= int(row["token"]), "a token went down"
    for document_id, row in before.documents.items():
        later = now.documents[document_id]
        if later["state"] not in _GONE and row["state"] not in _GONE:
            assert int(later["version"]) >= int(row["version"]), "a visible version went back"
    assert int(now.collection.get("generation", 0)) >= int(before.collection.get("generation", 0))


def check_sweep(before: Snapshot, now: Snapshot) -> None:
    """A sweep leaves alone what waits with a message, wherever in its queue kombu has put that."""
    for queue, job_ids in before.messages.items():
        for job_id in before.queued[queue].keys() & set(job_ids):
            assert now.queued[queue][job_id] == before.queued[queue][job_id]


def _own_held_key(queue: Queue) -> str:
    return f"{held_key(queue)}:{DEFAULT_TENANT}"


def _own_queued_key(queue: Queue) -> str:
    return f"{queued_key(queue)}:{DEFAULT_TENANT}"


def _held(answers: Iterator[list[str]]) -> dict[Queue, frozenset[str]]:
    """All held jobs, which are those of the one tenant."""
    held = {queue: frozenset(next(answers)) for queue in Queue}
    assert held == {queue: frozenset(next(answers)) for queue in Queue}
    return held


def _check_jobs(model: LedgerModel, seen: Snapshot) -> None:
    for job_id, row in seen.jobs.items():
        job, expected = job_record(row), model.jobs[job_id]
        assert (job.state, job.step, job.step_state) == (expected.state, expected.step, expected.step_state)
        counts = (expected.attempts, expected.crashes, expected.interruptions)
        assert (job.attempts, job.crashes, job.interruptions) == counts
        assert (job.error.code if job.error else "") == expected.error
        assert (job.cancel_requested, row["token"]) == (expected.cancel, expected.token)
        assert row.get("span", "") == expected.span


def _check_indexes(seen: Snapshot) -> None:
    """An open job stands in exactly the index that its state names: there a claim or the sweeper comes by."""
    leased = {job_id: float(row["lease_until"]) for job_id, row in seen.jobs.items() if row["step_state"] == "leased"}
    delayed = {job_id: float(row["retry_at"]) for job_id, row in seen.jobs.items() if row["step_state"] == "delayed"}
    assert (seen.leases, seen.delayed) == (leased, delayed)
    for queue in Queue:
        waiting = {
            job_id for job_id, row in seen.jobs.items() if row["step_state"] == "queued" and row["queue"] == queue
        }
        assert seen.queued[queue].keys() | seen.held[queue] == waiting
        assert not seen.queued[queue].keys() & seen.held[queue]
        assert seen.own[queue] == seen.queued[queue].keys()
        # Work is held back only while the tenant has its whole share on the queue.
        share = vars(scripts)["TENANT_SHARE"]
        assert len(seen.own[queue]) == share if seen.held[queue] else len(seen.own[queue]) <= share
    for row in seen.jobs.values():
        assert (row["step_state"] == "done") == (row["state"] in _FINAL)


def _check_documents(model: LedgerModel, seen: Snapshot) -> None:
    for document_id, row in seen.documents.items():
        record, expected = document_record(row), model.documents[document_id]
        versions = (expected.version, expected.accepted, expected.chunks)
        assert (record.version, record.accepted_version, record.chunks) == versions
        assert (record.state, record.job_id) == (expected.state, expected.job)
        assert (record.error.code if record.error else "") == expected.error
        assert (document_id in seen.listed) == (record.state is not DocumentState.DELETED)
        job = model.jobs[record.job_id]
        if job.kind is JobKind.INGEST and not job.committed:
            assert record.state in _DOCUMENT_STATES[job.step_state]
