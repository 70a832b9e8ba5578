"""Cancelling: at once what waits, at its next effect what runs, never what has ended."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from ragline.common.errors import Cancelled, Conflict, InternalError, NotFound, TransientError
from ragline.common.models import DocumentState, JobState
from ragline.common.queues import Step
from ragline.stores.ledger.claims import ClaimLost, ClaimState
from tests.support.ledger import Ledger, expire_lease, new_query


def _cancel(ledger: Ledger, job_id: str, tenant: str = "default") -> None:
    ledger.run(ledger.accepting.cancel(tenant, job_id))


def _assert_cancelled(ledger: Ledger, job_id: str) -> None:
    job = ledger.job(job_id)
    assert (job.state, job.step_state, job.error and job.error.code) == (JobState.CANCELLED, "done", Cancelled.code)
    assert [event.type for event in ledger.events(job_id)][-1] == "done"


def test_queued_job_ends_at_once(ledger: Ledger) -> None:
    submission = ledger.upload()
    _cancel(ledger, submission.job_id)
    _assert_cancelled(ledger, submission.job_id)
    assert ledger.document(submission.document_id).state is DocumentState.CANCELLED
    ledger.take()
    assert ledger.claim(submission.job_id) is None


@pytest.mark.parametrize("effect", ["record", "hand_back", "advance", "fail", "retry"])
def test_leased_job_ends_at_its_next_effect(ledger: Ledger, effect: str) -> None:
    submission = ledger.upload()
    claim = ledger.start(submission.job_id)
    _cancel(ledger, submission.job_id)
    job = ledger.job(submission.job_id)
    assert (job.state, job.cancel_requested) == (JobState.RUNNING, True)
    calls: dict[str, Callable[[], object]] = {
        "record": lambda: ledger.working.record(claim, progress=(1, 2, "pages")),
        "hand_back": lambda: ledger.working.hand_back(claim, interrupted=True, progressed=False),
        "advance": lambda: ledger.working.advance(claim, Step.SPLIT),
        "fail": lambda: ledger.working.fail(claim, InternalError("broken")),
        "retry": lambda: ledger.working.retry(claim, TransientError("a", "b", "c"), timedelta(seconds=1)),
    }
    with pytest.raises(ClaimLost) as lost:
        calls[effect]()
    assert lost.value.state is ClaimState.CANCELLED
    _assert_cancelled(ledger, submission.job_id)


def test_a_claim_whose_renewal_heard_of_the_cancellation_hears_it_at_its_next_effect_too(ledger: Ledger) -> None:
    """And what it wrote in between is cleaned, after what the end of the job had cleaned."""
    submission = ledger.upload()
    claim = ledger.start(submission.job_id)
    _cancel(ledger, submission.job_id)
    assert ledger.working.renew([claim]) == [ClaimState.CANCELLED]
    ledger.run(ledger.accepting.queue_cleaning(sorted(ledger.littered())))
    assert ledger.littered() == set()
    with pytest.raises(ClaimLost) as lost:
        ledger.working.hand_back(claim, interrupted=False, progressed=False)
    assert lost.value.state is ClaimState.CANCELLED
    assert ledger.littered() == {submission.document_id}


def test_leased_job_whose_worker_is_gone_ends_when_its_lease_does(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.start(submission.job_id)
    _cancel(ledger, submission.job_id)
    expire_lease(ledger.client, submission.job_id)
    ledger.sweep()
    _assert_cancelled(ledger, submission.job_id)


def test_leased_job_whose_worker_is_gone_is_not_claimed_again(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.start(submission.job_id)
    _cancel(ledger, submission.job_id)
    expire_lease(ledger.client, submission.job_id)
    assert ledger.claim(submission.job_id) is None
    _assert_cancelled(ledger, submission.job_id)


def test_delayed_job_ends_at_once(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.working.retry(ledger.start(submission.job_id), TransientError("a", "b", "c"), timedelta(minutes=1))
    _cancel(ledger, submission.job_id)
    _assert_cancelled(ledger, submission.job_id)
    assert ledger.client.exists("ragline:delayed") == 0


def test_finished_job_is_left_as_it_is(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.commit(submission)
    before = ledger.job(submission.job_id)
    _cancel(ledger, submission.job_id)
    assert ledger.job(submission.job_id) == before
    assert ledger.document(submission.document_id).state is DocumentState.INDEXED


def test_committed_upload_can_no_longer_be_cancelled(ledger: Ledger) -> None:
    """Its version answers questions already; only cleaning up is left."""
    submission = ledger.upload()
    claim = ledger.index(submission)
    ledger.working.commit(claim, pages=2, chunks=10)
    _cancel(ledger, submission.job_id)
    ledger.working.finish(claim, {})
    assert ledger.job(submission.job_id).state is JobState.SUCCEEDED
    assert ledger.document(submission.document_id).error is None


def test_job_of_another_tenant_does_not_exist(ledger: Ledger) -> None:
    submission = ledger.upload()
    with pytest.raises(NotFound):
        _cancel(ledger, submission.job_id, tenant="other")
    with pytest.raises(NotFound):
        _cancel(ledger, "job_unknown")
    assert ledger.job(submission.job_id).state is JobState.QUEUED


def test_delete_cannot_be_cancelled(ledger: Ledger) -> None:
    submission = ledger.upload()
    deletion = ledger.delete(str(submission.document_id))
    for _ in range(2):
        with pytest.raises(Conflict):
            _cancel(ledger, deletion.job_id)
        claim = ledger.claim(deletion.job_id)
    assert claim is None
    assert ledger.job(deletion.job_id).state is JobState.RUNNING


def test_cancelled_question_has_no_document(ledger: Ledger) -> None:
    ledger.upload()
    submission = ledger.submit(new_query())
    _cancel(ledger, submission.job_id)
    _assert_cancelled(ledger, submission.job_id)


def test_cancelled_reupload_leaves_the_visible_version(ledger: Ledger) -> None:
    first = ledger.upload(content="old")
    ledger.commit(first, chunks=10)
    _cancel(ledger, ledger.upload(content="new").job_id)
    document = ledger.document(first.document_id)
    assert (document.state, document.version, document.chunks) == (DocumentState.INDEXED, 1, 10)
    assert ledger.collection().chunks == 10


def test_upload_that_was_cancelled_can_be_sent_again(ledger: Ledger) -> None:
    """The document is indexed, but not with these bytes: "unchanged" would lose them silently."""
    ledger.commit(ledger.upload(content="old"))
    _cancel(ledger, ledger.upload(content="new").job_id)
    again = ledger.upload(content="new")
    assert not again.unchanged
    document = ledger.document(again.document_id)
    assert (document.state, document.accepted_version) == (DocumentState.ACCEPTED, 3)


def test_upload_during_a_cancellation_is_not_cancelled_with_it(ledger: Ledger) -> None:
    first = ledger.upload()
    claim = ledger.start(first.job_id)
    _cancel(ledger, first.job_id)
    again = ledger.upload()
    assert (again.unchanged, again.job_id != first.job_id) == (False, True)
    assert ledger.working.renew([claim]) == [ClaimState.CANCELLED]
    ledger.commit(again)
    assert ledger.document(first.document_id).state is DocumentState.INDEXED
