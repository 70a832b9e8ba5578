"""Collections: the generations that uploads are promised, and what is left of a collection that is deleted."""

import pytest

from ragline.common.errors import Conflict
from ragline.common.models import DocumentState, JobState
from ragline.common.queues import JobKind, Queue
from ragline.stores.ledger.accepting import NewJob
from ragline.stores.ledger.claims import ClaimLost
from tests.support.ledger import COLLECTION, Ledger


def test_a_dropped_collection_is_gone_with_its_documents_and_its_name_is_free(ledger: Ledger) -> None:
    documents = [str(ledger.upload(name=f"{number}.pdf").document_id) for number in range(3)]
    drop = ledger.submit(NewJob(tenant="default", kind=JobKind.DROP, params={}, collection=COLLECTION))
    assert ledger.run(ledger.accepting.collections("default", limit=10)) == []
    with pytest.raises(Conflict):
        ledger.upload(name="new.pdf")
    claim = ledger.start(drop.job_id)
    for _ in range(2):
        ledger.working.delete_documents(claim, documents)
    assert ledger.client.llen(Queue.VECTORSTORE) == 3
    for document in documents:
        record = ledger.document(document)
        assert record.state is DocumentState.DELETING
        ledger.working.finish(ledger.start(record.job_id), {})
    assert ledger.working.document_ids("default", COLLECTION) == []
    ledger.working.finish(claim, {})
    assert list(ledger.client.scan_iter("ragline:collection:*")) == []


def test_collections_that_are_gone_leave_one_number(ledger: Ledger) -> None:
    kept: set[str] = set()
    for number in range(5):
        name = f"session-{number}"
        ledger.commit(ledger.upload(collection=name))
        assert ledger.collection(name).generation > number
        drop = ledger.submit(NewJob(tenant="default", kind=JobKind.DROP, params={}, collection=name))
        ledger.working.finish(ledger.start(drop.job_id), {})
        kept = set(ledger.client.scan_iter("ragline:*generation*"))
    assert len(kept) == 1
    assert ledger.client.type(kept.pop()) == "string"


def test_a_drop_tries_deletes_that_failed_again(ledger: Ledger) -> None:
    document = str(ledger.upload().document_id)
    claim = ledger.start(
        ledger.submit(NewJob(tenant="default", kind=JobKind.DROP, params={}, collection=COLLECTION)).job_id
    )
    ledger.working.delete_documents(claim, [document])
    ledger.working.fail(ledger.start(ledger.document(document).job_id), Conflict("broken"))
    for _ in range(2):
        ledger.working.delete_documents(claim, [document])
    assert ledger.client.llen(Queue.VECTORSTORE) == 1


def test_a_drop_ends_when_deletes_fail_again_and_again(ledger: Ledger) -> None:
    document = str(ledger.upload().document_id)
    drop = NewJob(tenant="default", kind=JobKind.DROP, params={}, collection=COLLECTION)
    claim = ledger.start(ledger.submit(drop).job_id)
    for _ in range(3):
        ledger.working.delete_documents(claim, [document])
        ledger.working.fail(ledger.start(ledger.document(document).job_id), Conflict("broken"))
    with pytest.raises(ClaimLost):
        ledger.working.delete_documents(claim, [document])
    job = ledger.job(claim.job.id)
    assert (job.state, job.error and job.error.code) == (JobState.FAILED, "attempts_exhausted")
    assert ledger.document(document).state is DocumentState.FAILED
    assert ledger.submit(drop).job_id


def _has(ledger: Ledger, generation: int | None) -> bool:
    assert generation is not None
    return ledger.run(ledger.accepting.has_generation("default", COLLECTION, generation))


def test_a_promised_generation_holds_all_that_was_promised_up_to_it(ledger: Ledger) -> None:
    first, second = ledger.upload(name="first.pdf"), ledger.upload(name="second.pdf")
    assert (first.generation, second.generation) == (1, 2)
    ledger.commit(second)
    # It overtook the first one, which a reader of generation 2 may expect as well.
    assert (_has(ledger, 1), _has(ledger, 2)) == (False, False)
    assert ledger.collection().generation == 2
    ledger.commit(first)
    assert (_has(ledger, 1), _has(ledger, 2)) == (True, True)
    assert (ledger.collection().generation, ledger.job(first.job_id).generation) == (3, 1)


def test_an_upload_that_fails_keeps_no_reader_waiting(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.working.fail(ledger.start(submission.job_id), Conflict("broken"))
    assert _has(ledger, submission.generation)


def test_an_upload_that_is_gone_keeps_no_reader_waiting(ledger: Ledger) -> None:
    """As after a backup that was restored without its job."""
    submission = ledger.upload()
    ledger.client.delete(f"ragline:job:{submission.job_id}")
    assert _has(ledger, submission.generation)


def test_a_generation_that_nobody_promised_is_refused_at_once(ledger: Ledger) -> None:
    ledger.commit(ledger.upload())
    with pytest.raises(Conflict):
        _has(ledger, 2)


def test_a_drop_that_failed_can_be_tried_again(ledger: Ledger) -> None:
    ledger.upload()
    drop = NewJob(tenant="default", kind=JobKind.DROP, params={}, collection=COLLECTION)
    ledger.working.fail(ledger.start(ledger.submit(drop).job_id), Conflict("broken"))
    assert [record.name for record in ledger.run(ledger.accepting.collections("default", limit=10))] == [COLLECTION]
    assert ledger.upload(name="new.pdf").document_id
    assert ledger.submit(drop).job_id
