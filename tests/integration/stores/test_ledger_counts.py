"""What the ledger counts beside the counts that its model is held against: other kinds of jobs, waits, sweeps."""

from datetime import timedelta

from ragline.common.errors import InternalError
from ragline.common.metrics import (
    CACHED_ANSWERS,
    COLD_STARTS,
    DOCUMENTS,
    JOB_DURATION,
    JOBS_ENDED,
    QUEUE_WAIT,
    REDISPATCHES,
    STEPS,
    SWEEPS,
)
from ragline.common.queues import JobKind, Queue
from ragline.stores.ledger.accepting import NewJob
from ragline.stores.ledger.keys import job_key, metrics_key
from ragline.stores.ledger.working import KeptAnswer
from tests.support.ledger import COLLECTION, Ledger, expire_lease, new_query
from tests.support.ledger_counts import counted, observations


def _metrics(ledger: Ledger) -> dict[str, str]:
    metrics: dict[str, str] = ledger.client.hgetall(metrics_key())
    return metrics


def _documents(ledger: Ledger) -> dict[tuple[str, ...], int]:
    return counted(_metrics(ledger), DOCUMENTS)


def test_waits_are_counted_by_how_long_they_were(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.client.hincrby(job_key(submission.job_id), "queued_at", -20_000)
    ledger.start(submission.job_id)
    metrics = _metrics(ledger)
    assert metrics[f"{QUEUE_WAIT.key}|document|30000"] == "1"
    assert 20_000 <= int(metrics[f"{QUEUE_WAIT.key}|document|sum"]) < 30_000


def test_cold_starts_are_counted_at_the_claim(ledger: Ledger) -> None:
    ledger.working.heartbeat(Queue.RAG, "rag@pod-1")
    cold, warm = ledger.upload(), ledger.submit(new_query())
    assert counted(_metrics(ledger), COLD_STARTS) == {}
    ledger.start(cold.job_id)
    ledger.start(warm.job_id)
    assert counted(_metrics(ledger), COLD_STARTS) == {("document",): 1}


def test_claim_of_a_step_whose_lease_ran_out_waited_since_then(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.client.hincrby(job_key(submission.job_id), "queued_at", -3_600_000)
    ledger.start(submission.job_id)
    expire_lease(ledger.client, submission.job_id)
    lease_until = ledger.field(submission.job_id, "lease_until")
    claim = ledger.claim(submission.job_id)
    assert claim is not None
    assert claim.queued_at == int(lease_until)
    assert counted(_metrics(ledger), STEPS) == {("document", "convert", "lost"): 1}


def test_answer_that_is_given_again_counts_as_one(ledger: Ledger) -> None:
    ledger.commit(ledger.upload())
    question = new_query(answer_key="asked", keep_answer=timedelta(hours=1))
    claim = ledger.start(ledger.submit(question).job_id)
    generation = ledger.collection().generation
    ledger.working.finish(claim, {"text": "30"}, KeptAnswer(generation=generation, profile="p", events=[]))
    ledger.submit(question)
    assert counted(_metrics(ledger), CACHED_ANSWERS) == {(): 1}
    assert counted(_metrics(ledger), JOBS_ENDED)["query", "succeeded"] == 2


def test_vanished_message_is_counted(ledger: Ledger) -> None:
    ledger.upload()
    ledger.take()
    assert ledger.sweep_past_grace() == 1
    metrics = _metrics(ledger)
    assert counted(metrics, REDISPATCHES) == {("message_vanished",): 1}
    assert counted(metrics, SWEEPS) == {(): 3}


def test_sweep_in_the_same_period_is_not_one(ledger: Ledger) -> None:
    ledger.sweep()
    ledger.run(ledger.accepting.sweep())
    assert counted(_metrics(ledger), SWEEPS) == {(): 1}


def test_lease_that_quarantines_is_no_redispatch(ledger: Ledger) -> None:
    submission = ledger.upload()
    for _ in range(3):
        ledger.start(submission.job_id)
        expire_lease(ledger.client, submission.job_id)
        ledger.sweep()
    metrics = _metrics(ledger)
    assert counted(metrics, REDISPATCHES) == {("lease_expired",): 2}
    assert counted(metrics, STEPS) == {("document", "convert", "lost"): 3}


def test_dropped_collection_leaves_no_document_counted(ledger: Ledger) -> None:
    uploads = [ledger.upload(name=f"{number}.pdf") for number in range(2)]
    ledger.commit(uploads[0])
    ledger.working.fail(ledger.start(uploads[1].job_id), InternalError("broken"))
    assert _documents(ledger) == {("indexed",): 1, ("failed",): 1}
    drop = ledger.submit(NewJob(tenant="default", kind=JobKind.DROP, params={}, collection=COLLECTION))
    claim = ledger.start(drop.job_id)
    ledger.working.delete_documents(claim, ledger.working.document_ids("default", COLLECTION))
    assert _documents(ledger) == {("deleting",): 2}
    for upload in uploads:
        assert upload.document_id is not None
        deletion = ledger.document(upload.document_id).job_id
        ledger.working.finish(ledger.start(deletion), {})
    assert _documents(ledger) == {}


def test_job_that_needed_no_work_took_no_time(ledger: Ledger) -> None:
    ledger.commit(ledger.upload())
    assert ledger.upload().unchanged
    assert observations(_metrics(ledger), JOB_DURATION) == 2
