"""The fence of a document: whose write may be under way, and who waits for the end of it."""

from datetime import timedelta

import pytest

from ragline.common.errors import RejectedError, TransientError
from ragline.stores.ledger.claims import Claim, ClaimLost
from tests.support.ledger import Ledger, make_retry_due

SILENT = TransientError("chroma", "add", "ReadTimeout", unanswered=True)
AWAY = TransientError("chroma", "add", "ConnectError")
REFUSED = RejectedError("chroma", "add", "too long")


@pytest.fixture
def old(ledger: Ledger) -> Claim:
    """An upload's last step."""
    return ledger.index(ledger.upload())


def _successor(ledger: Ledger) -> Claim:
    """The last step of the upload that replaces it."""
    return ledger.index(ledger.upload(content="second content"))


def test_a_successor_waits_until_the_fence_is_given_back(ledger: Ledger, old: Claim) -> None:
    with ledger.working.fenced(old):
        new = _successor(ledger)
        with pytest.raises(TransientError, match="still writes"):
            ledger.working.fence(new)
        with pytest.raises(ClaimLost):
            ledger.working.fence(old)
    ledger.working.fence(new)


@pytest.mark.parametrize("error", [AWAY, REFUSED, ZeroDivisionError()], ids=repr)
def test_the_fence_is_given_back_however_the_step_ends(ledger: Ledger, old: Claim, error: Exception) -> None:
    with pytest.raises(type(error)), ledger.working.fenced(old):
        raise error
    ledger.working.fence(_successor(ledger))


def test_a_write_without_an_answer_may_land_yet_and_keeps_the_fence(ledger: Ledger, old: Claim) -> None:
    with pytest.raises(TransientError), ledger.working.fenced(old):
        raise SILENT
    # The same job may go on: what it wrote is its own.
    ledger.working.fence(old)
    with pytest.raises(TransientError, match="still writes"):
        ledger.working.fence(_successor(ledger))
    assert ledger.client.pttl(_fence_of(old)) > 0


def test_a_later_try_of_the_job_does_not_give_back_what_that_write_needs(ledger: Ledger, old: Claim) -> None:
    with pytest.raises(TransientError), ledger.working.fenced(old):
        raise SILENT
    left_ms = ledger.client.pttl(_fence_of(old))
    ledger.working.retry(old, SILENT, timedelta(), max_attempts=9)
    make_retry_due(ledger.client, old.job.id)
    ledger.sweep()
    with ledger.working.fenced(ledger.start(old.job.id)):
        pass
    with pytest.raises(TransientError, match="still writes"):
        ledger.working.fence(_successor(ledger))
    assert 0 < ledger.client.pttl(_fence_of(old)) <= left_ms


def test_a_fence_that_ran_out_can_be_taken_again_but_not_kept(ledger: Ledger, old: Claim) -> None:
    ledger.working.fence(old)
    ledger.working.keep_fence(old)
    ledger.client.delete(_fence_of(old))
    with pytest.raises(TransientError, match="ran out"):
        ledger.working.keep_fence(old)
    ledger.working.fence(old)
    ledger.working.keep_fence(old)


def _fence_of(claim: Claim) -> str:
    return f"ragline:doc:{claim.job.document_id}:writer"
