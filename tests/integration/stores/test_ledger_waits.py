"""How long a step waited for its worker, whether one had to be started, and which attempt came before."""

from datetime import timedelta

import pytest

from ragline.common.errors import TransientError
from ragline.common.queues import Queue, Step
from ragline.stores.ledger import scripts
from ragline.stores.ledger.claims import Claim
from ragline.stores.ledger.keys import job_key
from tests.support.ledger import Ledger, expire_lease, make_retry_due, new_query

FIRST, SECOND = "00-trace-first-01", "00-trace-second-01"
MINUTE = timedelta(minutes=1)


def _again(ledger: Ledger, how: str, claim: Claim) -> None:
    """Let the claimed step wait on its queue once more."""
    match how:
        case "hand back":
            ledger.working.hand_back(claim, interrupted=True, progressed=False)
        case "retry":
            ledger.working.retry(claim, TransientError("chroma", "add", "refused"), MINUTE)
            make_retry_due(ledger.client, claim.job.id)
            ledger.sweep()
        case _:
            expire_lease(ledger.client, claim.job.id)
            ledger.sweep()


def _set_queued(ledger: Ledger, job_id: str, seconds_ago: int) -> int:
    queued_at = int(ledger.field(job_id, "queued_at")) - seconds_ago * 1000
    ledger.client.hset(job_key(job_id), "queued_at", queued_at)
    return queued_at


def test_claim_knows_since_when_the_step_waited(ledger: Ledger) -> None:
    submission = ledger.upload()
    queued_at = _set_queued(ledger, submission.job_id, seconds_ago=7)
    claim = ledger.start(submission.job_id)
    assert claim.queued_at == queued_at
    assert 7_000 <= claim.claimed_at - claim.queued_at < 17_000
    assert ledger.events(submission.job_id)[0].data["waited_ms"] == claim.claimed_at - claim.queued_at


@pytest.mark.parametrize("how", ["hand back", "retry", "crash"])
def test_each_wait_is_measured_from_its_own_beginning(ledger: Ledger, how: str) -> None:
    submission = ledger.upload()
    _set_queued(ledger, submission.job_id, seconds_ago=3_600)
    first = ledger.start(submission.job_id)
    _again(ledger, how, first)
    second = ledger.start(submission.job_id)
    assert first.claimed_at <= second.queued_at <= second.claimed_at


def test_held_job_waits_from_the_moment_it_was_accepted(ledger: Ledger) -> None:
    submissions = [ledger.upload(name=f"{number}.pdf") for number in range(vars(scripts)["TENANT_SHARE"] + 1)]
    queued_at = _set_queued(ledger, submissions[-1].job_id, seconds_ago=7)
    ledger.start(submissions[0].job_id)
    assert ledger.start(submissions[-1].job_id).queued_at == queued_at


def test_step_is_cold_when_its_queue_had_no_worker(ledger: Ledger) -> None:
    ledger.working.heartbeat(Queue.RAG, "rag@pod-1")
    cold, warm = ledger.upload(), ledger.submit(new_query())
    ledger.working.heartbeat(Queue.DOCUMENT, "document@pod-1")
    assert ledger.start(cold.job_id).cold
    assert not ledger.start(warm.job_id).cold
    assert ledger.events(cold.job_id)[0].data["cold"] is True
    assert "cold" not in ledger.events(warm.job_id)[0].data


def test_step_is_cold_when_the_last_worker_has_left(ledger: Ledger) -> None:
    ledger.working.heartbeat(Queue.RAG, "rag@pod-1")
    ledger.working.leave(Queue.RAG, "rag@pod-1")
    ledger.upload()
    assert ledger.start(ledger.submit(new_query()).job_id).cold


@pytest.mark.parametrize("how", ["hand back", "retry", "crash"])
def test_attempt_is_told_the_span_of_the_one_before(ledger: Ledger, how: str) -> None:
    submission = ledger.upload()
    first = ledger.start(submission.job_id, span=FIRST)
    _again(ledger, how, first)
    second = ledger.start(submission.job_id, span=SECOND)
    assert (first.previous_span, second.previous_span) == ("", FIRST)


def test_first_attempt_of_the_next_step_has_none_before_it(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.working.advance(ledger.start(submission.job_id, span=FIRST), Step.SPLIT)
    assert ledger.start(submission.job_id, span=SECOND).previous_span == ""


def test_attempt_without_a_span_leaves_none(ledger: Ledger) -> None:
    submission = ledger.upload()
    _again(ledger, "crash", ledger.start(submission.job_id, span=FIRST))
    _again(ledger, "crash", ledger.start(submission.job_id))
    assert ledger.start(submission.job_id).previous_span == ""


def test_claim_passed_on_by_another_process_knows_its_times(ledger: Ledger) -> None:
    claim = ledger.start(ledger.upload().job_id)
    passed_on = ledger.working.claim_of(claim.job.id, claim.token)
    assert passed_on is not None
    assert (passed_on.queued_at, passed_on.claimed_at) == (claim.queued_at, claim.claimed_at)
