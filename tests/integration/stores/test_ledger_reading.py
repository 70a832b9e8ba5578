"""What readers of the ledger see: their own things only, events in order, nothing for ever."""

import asyncio
from datetime import timedelta

import pytest

from ragline.common.constants import EMBED_JOB_RETENTION, INGEST_JOB_RETENTION, JOB_RETENTION
from ragline.common.errors import InternalError, NotFound, TransientError
from ragline.common.models import Event
from ragline.common.queues import JobKind, Queue
from ragline.stores.ledger.accepting import NewJob
from ragline.stores.ledger.keys import document_key, events_key, job_key, metadata_key
from tests.support.ledger import COLLECTION, Ledger, new_query

LASTING = (
    "ragline:collection:",
    "ragline:collections:",
    "ragline:doc:",
    "ragline:last-generation:",
    "ragline:littered",
    "ragline:metrics",
    "ragline:seq:",
    "ragline:swept",
)
"""What may stay for ever: documents until they are deleted, collections, what is to be cleaned, a counter a queue
and a tenant, what was counted, when it was last swept."""

WORKING = ("ragline:job:", "ragline:queued:", "ragline:leases", "ragline:delayed")
"""What stays while there is work."""


def _lasting_keys(ledger: Ledger) -> set[str]:
    return {key for key in ledger.client.scan_iter() if ledger.client.ttl(key) == -1}


def _followed(ledger: Ledger, job_id: str, after: str = "0", silences: int = 1) -> list[Event]:
    """Events of a job until it is done, or until so many waits brought none."""

    async def follow() -> list[Event]:
        found, silent = [], 0
        async for event in ledger.accepting.follow(job_id, after=after, block_seconds=0.02):
            if event is not None:
                found.append(event)
            elif (silent := silent + 1) == silences:
                break
        return found

    return ledger.run(follow())


def test_tenants_do_not_see_each_other(ledger: Ledger) -> None:
    submission = ledger.upload(tenant="a")
    assert submission.document_id is not None
    with pytest.raises(NotFound):
        ledger.job(submission.job_id, tenant="b")
    with pytest.raises(NotFound):
        ledger.document(submission.document_id, tenant="b")
    with pytest.raises(NotFound):
        ledger.collection(tenant="b")
    with pytest.raises(NotFound):
        ledger.delete(submission.document_id, tenant="b")
    with pytest.raises(NotFound):
        ledger.submit(new_query(tenant="b"))
    assert ledger.run(ledger.accepting.collections("b", limit=10)) == []
    assert ledger.run(ledger.accepting.documents("b", COLLECTION, limit=10)) == []


def test_tenants_may_use_the_same_names(ledger: Ledger) -> None:
    of_a, of_b = ledger.upload(tenant="a"), ledger.upload(tenant="b")
    assert of_a.document_id != of_b.document_id
    assert not of_b.unchanged
    ledger.commit(of_a, chunks=7)
    assert (ledger.collection(tenant="a").chunks, ledger.collection(tenant="b").chunks) == (7, 0)


def test_unknown_things_are_not_found(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        ledger.job("job_unknown")
    with pytest.raises(NotFound):
        ledger.document("doc_unknown")
    with pytest.raises(NotFound):
        ledger.collection("unknown")
    assert ledger.working.collection("default", "unknown") is None
    assert ledger.working.documents(["doc_unknown"]) == {}


def test_position_counts_the_jobs_in_front(ledger: Ledger) -> None:
    submissions = [ledger.upload(name=f"{number}.pdf") for number in range(3)]
    assert [ledger.job(submission.job_id).position for submission in submissions] == [0, 1, 2]
    ledger.start(submissions[0].job_id)
    assert [ledger.job(submission.job_id).position for submission in submissions] == [None, 0, 1]


def test_queues_count_messages(ledger: Ledger) -> None:
    ledger.upload()
    ledger.client.hset("unacked:document", "tag", "message")
    status = {status.queue: status for status in ledger.run(ledger.accepting.queues())}[Queue.DOCUMENT]
    assert (status.waiting, status.in_flight) == (1, 1)


def test_events_come_in_order(ledger: Ledger) -> None:
    ledger.upload()
    submission = ledger.submit(new_query())
    claim = ledger.start(submission.job_id)
    tokens = [("token", {"text": text}) for text in ("Thirty", " days", " 文書")]
    ledger.working.record(claim, progress=(1, 2, "passages"), events=tokens)
    ledger.working.finish(claim, {})
    events = ledger.events(submission.job_id)
    assert [event.type for event in events] == ["progress", "progress", "token", "token", "token", "done"]
    assert [event.data["text"] for event in events if event.type == "token"] == ["Thirty", " days", " 文書"]
    assert events[1].data == {"step": "answer", "done": 1, "total": 2, "unit": "passages"}
    assert events[-1].data == {"state": "succeeded"}


def test_failure_is_told_before_the_end(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.working.fail(ledger.start(submission.job_id), InternalError("broken"))
    *_, error, done = ledger.events(submission.job_id)
    assert (error.type, error.data) == ("error", {"code": "internal_error", "detail": "broken"})
    assert (done.type, done.data) == ("done", {"state": "failed"})


def test_reader_resumes_after_the_last_event_it_has(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.commit(submission)
    events = ledger.events(submission.job_id)
    for number, event in enumerate(events):
        assert ledger.events(submission.job_id, after=event.id) == events[number + 1 :]
        assert _followed(ledger, submission.job_id, after=event.id, silences=5) == events[number + 1 :]


def test_reader_of_a_waiting_job_looks_around(ledger: Ledger) -> None:
    submission = ledger.upload()
    assert _followed(ledger, submission.job_id, silences=3) == []


def test_reader_with_all_events_of_a_finished_job_is_let_go(ledger: Ledger) -> None:
    """An EventSource of a browser connects again by itself after the end."""
    submission = ledger.upload()
    ledger.commit(submission)
    last = ledger.events(submission.job_id)[-1].id
    assert _followed(ledger, submission.job_id, after=last, silences=1_000) == []


def test_reader_of_a_forgotten_job_is_let_go(ledger: Ledger) -> None:
    assert _followed(ledger, "job_forgotten", silences=1_000) == []


def test_reader_waits_for_what_comes(ledger: Ledger) -> None:
    submission = ledger.upload()

    async def read_while_the_worker_starts() -> list[Event]:
        reader = asyncio.create_task(ledger.accepting.events(submission.job_id, block_seconds=5))
        await asyncio.sleep(0)
        await asyncio.to_thread(ledger.start, submission.job_id)
        return await reader

    assert [event.type for event in ledger.run(read_while_the_worker_starts())] == ["progress"]


def test_not_waiting_means_not_waiting(ledger: Ledger) -> None:
    submission = ledger.upload()
    assert ledger.run(ledger.accepting.events(submission.job_id, block_seconds=0)) == []


@pytest.mark.parametrize(
    ("kind", "retention"),
    [
        (JobKind.INGEST, INGEST_JOB_RETENTION),
        (JobKind.PROCESS, JOB_RETENTION),
        (JobKind.EMBED, EMBED_JOB_RETENTION),
    ],
)
def test_finished_jobs_and_their_events_are_forgotten(ledger: Ledger, kind: JobKind, retention: timedelta) -> None:
    if kind is JobKind.INGEST:
        submission = ledger.upload()
    else:
        submission = ledger.submit(NewJob(tenant="default", kind=kind, params={}))
    ledger.working.fail(ledger.start(submission.job_id), InternalError("broken"))
    for key in (job_key(submission.job_id), events_key(submission.job_id)):
        assert retention.total_seconds() - 60 < ledger.client.ttl(key) <= retention.total_seconds()


def test_metadata_are_of_the_documents_of_one_collection(ledger: Ledger) -> None:
    key = metadata_key("default", COLLECTION)
    assert ledger.working.metadata("default", COLLECTION) == {}
    ledger.client.hset(key, mapping={"doc_1": '{"year": 2026, "draft": false}', "doc_2": '{"team": "Gr\u00fcn"}'})
    ledger.client.hset(metadata_key("default", "other"), "doc_3", "{}")
    assert ledger.working.metadata("default", COLLECTION) == {
        "doc_1": {"year": 2026, "draft": False},
        "doc_2": {"team": "Gr\u00fcn"},
    }


@pytest.mark.parametrize(("text", "metadata"), [(None, {}), ("", {}), ('{"year": 2026}', {"year": 2026})])
def test_a_document_may_have_metadata(ledger: Ledger, text: str | None, metadata: dict[str, int]) -> None:
    submission = ledger.upload()
    if text is not None:
        ledger.client.hset(document_key(str(submission.document_id)), "metadata", text)
    assert ledger.document(submission.document_id).metadata == metadata


def test_deleted_document_is_forgotten(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.commit(submission)
    ledger.working.finish(ledger.start(ledger.delete(str(submission.document_id)).job_id), {})
    assert 0 < ledger.client.ttl(document_key(str(submission.document_id))) <= JOB_RETENTION.total_seconds()


def test_no_key_without_end_but_the_known_ones(ledger: Ledger) -> None:
    kept, waiting, retried = (ledger.upload(name=name) for name in ("kept", "waiting", "retried"))
    ledger.take()
    kept_claim = ledger.claim(kept.job_id)
    assert kept_claim is not None
    ledger.take()
    ledger.take()
    retried_claim = ledger.claim(retried.job_id)
    assert retried_claim is not None
    ledger.working.retry(retried_claim, TransientError("a", "b", "c"), timedelta(minutes=1))
    ledger.working.heartbeat(Queue.DOCUMENT, "document@pod-1")
    ledger.sweep()
    assert {key for key in _lasting_keys(ledger) if not key.startswith(LASTING + WORKING)} == set()
    assert any("job:" in key for key in _lasting_keys(ledger))
    for job in (kept, waiting, retried):
        ledger.run(ledger.accepting.cancel("default", job.job_id))
    ledger.working.renew([kept_claim])
    assert {key for key in _lasting_keys(ledger) if not key.startswith(LASTING)} == set()


def test_deleting_everything_leaves_only_names_and_counters(ledger: Ledger) -> None:
    for name in ("one.pdf", "two.pdf"):
        submission = ledger.upload(name=name)
        ledger.commit(submission)
        ledger.working.finish(ledger.start(ledger.delete(str(submission.document_id)).job_id), {})
    assert _lasting_keys(ledger) == {
        "ragline:collections:default",
        f"ragline:collection:default:{COLLECTION}",
        "ragline:metrics",
        "ragline:seq:document",
        "ragline:seq:vectorstore",
    }
