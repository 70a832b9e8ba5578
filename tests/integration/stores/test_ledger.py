"""What the ledger makes of uploads, other jobs and deletes."""

import itertools
import json

import pytest

from ragline.common.errors import EmbeddingSpaceMismatch, InternalError, NotFound, Superseded
from ragline.common.messages import StepMessage
from ragline.common.models import DocumentState, JobState
from ragline.common.queues import JobKind, Queue, Step
from ragline.stores.ledger.accepting import NewJob
from ragline.stores.ledger.claims import ClaimLost
from ragline.stores.ledger.keys import documents_key
from tests.support.ledger import COLLECTION, Ledger, message_ids, new_document, new_query


def test_accept_makes_record_and_message(ledger: Ledger) -> None:
    submission = ledger.upload()
    assert not submission.unchanged
    assert ledger.job(submission.job_id).state is JobState.QUEUED
    assert ledger.document(submission.document_id).state is DocumentState.ACCEPTED
    assert ledger.take(Queue.DOCUMENT) == StepMessage(job_id=submission.job_id, step=Step.CONVERT)


def test_accept_is_one_command_to_the_server(ledger: Ledger) -> None:
    """No crash can come between the record and its message."""
    ledger.upload()  # the script is loaded by now
    with ledger.client.monitor() as monitor:
        ledger.upload(name="other.pdf")
        ledger.client.echo("end")
        seen = list(itertools.takewhile(lambda entry: entry["command"] != "ECHO end", monitor.listen()))
    calls = [entry["command"].split()[0] for entry in seen if entry["client_type"] != "lua"]
    assert [call for call in calls if call not in {"CLIENT", "HELLO"}] == ["EVALSHA"]
    assert any(entry["command"].startswith("LPUSH document") for entry in seen)


def test_same_upload_while_active_joins_the_job(ledger: Ledger) -> None:
    first = ledger.upload()
    again = ledger.upload()
    assert (again.unchanged, again.status) == (True, JobState.QUEUED)
    assert (again.job_id, again.document_id) == (first.job_id, first.document_id)
    assert message_ids(ledger.client, Queue.DOCUMENT) == [first.job_id]


def test_same_upload_after_indexed_is_done_at_once(ledger: Ledger) -> None:
    first = ledger.upload()
    ledger.commit(first)
    again = ledger.upload()
    assert (again.unchanged, again.status) == (True, JobState.SUCCEEDED)
    assert again.document_id == first.document_id
    job = ledger.job(again.job_id)
    assert (job.state, job.result) == (JobState.SUCCEEDED, {"document_id": first.document_id, "unchanged": True})
    assert ledger.document(first.document_id).version == 1
    assert message_ids(ledger.client, Queue.DOCUMENT) == []


def test_same_upload_after_a_failure_is_tried_again(ledger: Ledger) -> None:
    first = ledger.upload()
    ledger.working.fail(ledger.start(first.job_id), InternalError("broken"))
    again = ledger.upload()
    assert not again.unchanged
    assert ledger.document(first.document_id).accepted_version == 2


def test_same_bytes_under_other_settings_are_a_new_version(ledger: Ledger) -> None:
    first = ledger.upload()
    ledger.commit(first)
    again = ledger.upload(fingerprint="pypdf:500:100")
    assert (again.unchanged, again.document_id) == (False, first.document_id)
    assert ledger.document(first.document_id).accepted_version == 2


def test_call_sent_again_after_a_lost_reply_is_the_same_acceptance(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object of an upload is thrown away when the answer is "unchanged": here the job needs it."""
    monkeypatch.setattr("ragline.stores.ledger.accepting.new_id", lambda prefix: f"{prefix}_0")
    first = ledger.upload()
    claim = ledger.start(first.job_id)
    assert ledger.upload() == first
    assert ledger.submit(new_query()).job_id == first.job_id
    ledger.working.record(claim, progress=(1, 2, "pages"))
    assert message_ids(ledger.client, Queue.DOCUMENT) == []


def test_unchanged_upload_sent_again_is_unchanged_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.commit(ledger.upload())
    monkeypatch.setattr("ragline.stores.ledger.accepting.new_id", lambda prefix: f"{prefix}_0")
    first = ledger.upload()
    assert first.unchanged
    assert ledger.upload() == first


def test_changed_upload_supersedes_and_refuses_the_old_worker(ledger: Ledger) -> None:
    first = ledger.upload(content="old")
    old_claim = ledger.start(first.job_id)
    second = ledger.upload(content="new")
    assert second.document_id == first.document_id
    with pytest.raises(ClaimLost):
        ledger.working.advance(old_claim, Step.SPLIT)
    old = ledger.job(first.job_id)
    assert old.state is JobState.CANCELLED
    assert old.error is not None
    assert old.error.code == Superseded.code
    document = ledger.document(first.document_id)
    assert (document.state, document.job_id, document.error) == (DocumentState.ACCEPTED, second.job_id, None)


def test_reingest_replaces_the_chunk_count(ledger: Ledger) -> None:
    ledger.commit(ledger.upload(content="old"), chunks=10)
    ledger.commit(ledger.upload(content="other", name="other.pdf"), chunks=5)
    ledger.commit(ledger.upload(content="new"), chunks=3)
    collection = ledger.collection()
    assert (collection.chunks, collection.documents, collection.generation) == (8, 2, 3)


def test_commit_twice_makes_one_generation(ledger: Ledger) -> None:
    claim = ledger.index(ledger.upload())
    ledger.working.commit(claim, pages=2, chunks=10)
    ledger.working.commit(claim, pages=2, chunks=10)
    collection = ledger.collection()
    assert (collection.chunks, collection.generation) == (10, 1)


def test_visible_version_stays_while_the_next_one_is_worked_on(ledger: Ledger) -> None:
    submission = ledger.upload(content="old")
    ledger.commit(submission)
    ledger.index(ledger.upload(content="new"))
    document = ledger.document(submission.document_id)
    assert (document.state, document.version, document.accepted_version) == (DocumentState.INDEXING, 1, 2)


def test_failed_reingest_says_so_and_leaves_the_visible_version(ledger: Ledger) -> None:
    submission = ledger.upload(content="old")
    ledger.commit(submission, chunks=10)
    ledger.working.fail(ledger.index(ledger.upload(content="new")), InternalError("broken"))
    document = ledger.document(submission.document_id)
    assert (document.state, document.version, document.chunks) == (DocumentState.FAILED, 1, 10)
    assert document.error is not None
    assert document.error.code == InternalError.code
    assert ledger.collection().chunks == 10


def test_failure_after_the_commit_leaves_the_document_indexed(ledger: Ledger) -> None:
    submission = ledger.upload()
    claim = ledger.index(submission)
    ledger.working.commit(claim, pages=2, chunks=10)
    ledger.working.fail(claim, InternalError("the clean-up broke"))
    assert ledger.job(submission.job_id).state is JobState.FAILED
    document = ledger.document(submission.document_id)
    assert (document.state, document.version) == (DocumentState.INDEXED, 1)


def test_delete_hides_at_once(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.commit(submission, chunks=10)
    deletion = ledger.delete(str(submission.document_id))
    document = ledger.document(submission.document_id)
    assert (document.state, document.version, document.job_id) == (DocumentState.DELETING, 0, deletion.job_id)
    collection = ledger.collection()
    assert (collection.chunks, collection.generation) == (0, 2)


def test_delete_forgets_at_the_end(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.commit(submission)
    deletion = ledger.delete(str(submission.document_id))
    ledger.working.finish(ledger.start(deletion.job_id), {})
    assert ledger.document(submission.document_id).state is DocumentState.DELETED
    assert ledger.working.document_ids("default", COLLECTION) == []
    assert ledger.working.originals(str(submission.document_id)) == {}
    with pytest.raises(NotFound):
        ledger.delete(str(submission.document_id))


def test_delete_before_anything_was_visible(ledger: Ledger) -> None:
    submission = ledger.upload()
    claim = ledger.start(submission.job_id)
    ledger.delete(str(submission.document_id))
    with pytest.raises(ClaimLost):
        ledger.working.advance(claim, Step.SPLIT)
    document = ledger.document(submission.document_id)
    assert (document.state, document.error) == (DocumentState.DELETING, None)
    collection = ledger.collection()
    assert (collection.chunks, collection.generation) == (0, 0)


def test_delete_twice_is_one_job(ledger: Ledger) -> None:
    submission = ledger.upload()
    first = ledger.delete(str(submission.document_id))
    assert ledger.delete(str(submission.document_id)).job_id == first.job_id
    assert message_ids(ledger.client, Queue.VECTORSTORE) == [first.job_id]


def test_name_of_a_deleted_document_makes_a_new_one(ledger: Ledger) -> None:
    old = ledger.upload()
    ledger.delete(str(old.document_id))
    new = ledger.upload()
    assert new.document_id != old.document_id
    assert ledger.document(new.document_id).accepted_version == 1


def test_delete_that_failed_can_be_tried_again(ledger: Ledger) -> None:
    """Neither are its chunks subtracted twice nor does it take the name from the document that has it now."""
    old = ledger.upload()
    ledger.commit(old, chunks=10)
    ledger.working.fail(ledger.start(ledger.delete(str(old.document_id)).job_id), InternalError("broken"))
    assert ledger.document(old.document_id).state is DocumentState.FAILED
    new = ledger.upload()
    ledger.commit(new, chunks=4)
    ledger.working.finish(ledger.start(ledger.delete(str(old.document_id)).job_id), {})
    assert ledger.document(old.document_id).state is DocumentState.DELETED
    assert ledger.collection().chunks == 4
    assert ledger.upload().document_id == new.document_id


def test_collection_keeps_its_embedding_space(ledger: Ledger) -> None:
    ledger.upload()
    with pytest.raises(EmbeddingSpaceMismatch):
        ledger.upload(space="openai/other")
    with pytest.raises(EmbeddingSpaceMismatch):
        ledger.submit(new_query(space="openai/other"))
    assert ledger.client.llen(Queue.DOCUMENT) == 1


def test_question_to_an_unknown_collection(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        ledger.submit(new_query())
    assert ledger.client.keys() == []


def test_delete_of_an_unknown_document(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        ledger.delete("doc_unknown")
    assert ledger.client.keys() == []


def test_parameters_come_back_as_they_were(ledger: Ledger) -> None:
    ledger.upload(name='Ünïcode "文書" 🎉.pdf')
    question = 'Wie "viele" Tage? \u0000 \u2028 文書 🎉 %s __DELIVERY_TAG__'
    params = {"question": question, "top_k": 3, "deep": [1.5, None]}
    submission = ledger.submit(new_query(params=params))
    assert ledger.job(submission.job_id).params == params
    assert ledger.start(submission.job_id).job.params == params


def test_each_copy_of_a_message_has_its_own_tag(ledger: Ledger) -> None:
    submission = ledger.upload()
    first = json.loads(ledger.client.lindex(Queue.DOCUMENT, 0))
    ledger.working.hand_back(ledger.start(submission.job_id), interrupted=True, progressed=False)
    second = json.loads(ledger.client.lindex(Queue.DOCUMENT, 0))
    assert first["properties"].pop("delivery_tag") != second["properties"].pop("delivery_tag")
    assert first == second


def test_jobs_without_a_document(ledger: Ledger) -> None:
    new = NewJob(tenant="default", kind=JobKind.PROCESS, params={"data": "x"})
    submission = ledger.submit(new)
    assert submission.document_id is None
    ledger.working.finish(ledger.start(submission.job_id), {"processed": "X"})
    job = ledger.job(submission.job_id)
    assert (job.state, job.result, job.error) == (JobState.SUCCEEDED, {"processed": "X"}, None)


def test_documents_are_listed_oldest_first_page_by_page(ledger: Ledger) -> None:
    ids = [str(ledger.upload(name=f"{number}.pdf").document_id) for number in range(5)]
    # All of one millisecond: the order of ids decides then, and no page may skip or repeat one.
    ledger.client.zadd(documents_key("default", COLLECTION), dict.fromkeys(ids, 1000))
    seen: list[str] = []
    after = (0, "")
    while page := ledger.run(ledger.accepting.documents("default", COLLECTION, after=after, limit=2)):
        seen += [record.id for record in page]
        after = (1000, page[-1].id)
    assert seen == sorted(ids)


def test_a_deleted_document_moves_no_page(ledger: Ledger) -> None:
    ids = [str(ledger.upload(name=f"{number}.pdf").document_id) for number in range(4)]
    ledger.client.zadd(documents_key("default", COLLECTION), {name: at for at, name in enumerate(ids, start=1)})
    ledger.client.zrem(documents_key("default", COLLECTION), ids[0])
    page = ledger.run(ledger.accepting.documents("default", COLLECTION, after=(2, ids[1]), limit=2))
    assert [record.id for record in page] == ids[2:]


def test_collections_are_listed_by_name_page_by_page(ledger: Ledger) -> None:
    for name in ("c", "a", "b"):
        ledger.upload(collection=name)
    pages = [ledger.run(ledger.accepting.collections("default", after=after, limit=2)) for after in ("", "b")]
    assert [[record.name for record in page] for page in pages] == [["a", "b"], ["c"]]


def test_large_size_survives_the_script(ledger: Ledger) -> None:
    submission = ledger.upload(size_bytes=100_000_000)
    assert ledger.document(submission.document_id).size_bytes == 100_000_000
    assert new_document().size_bytes < 100
