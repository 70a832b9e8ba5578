"""What the ledger refuses or knows already: backlogs, budgets, repeated requests."""

from datetime import timedelta
from typing import Any

import pytest

from ragline.common.errors import (
    BacklogFull,
    BudgetExhausted,
    IdempotencyKeyReused,
    InternalError,
    Overloaded,
    RefusedForNow,
    TransientError,
)
from ragline.common.models import JobState
from ragline.common.queues import JobKind, Queue, Step
from ragline.stores.ledger.accepting import AcceptLedger, Bounds, Idempotency, NewJob
from ragline.stores.ledger.working import KeptAnswer
from tests.support.ledger import COLLECTION, Ledger, make_retry_due, new_query

HOUR = timedelta(hours=1)


def _bounded(ledger: Ledger, **bounds: int) -> None:
    ledger.accepting = AcceptLedger(ledger.accepting._redis, Bounds(**bounds))


def test_a_tenant_s_backlog_has_an_end(ledger: Ledger) -> None:
    _bounded(ledger, max_backlog_per_tenant=3)
    for number in range(3):
        ledger.upload(tenant="a", name=f"{number}.pdf")
    with pytest.raises(BacklogFull):
        ledger.upload(tenant="a", name="more.pdf")
    assert ledger.collection(tenant="a").documents == 3
    assert ledger.upload(tenant="b").document_id


def test_the_backlog_of_all_has_an_end(ledger: Ledger) -> None:
    _bounded(ledger, max_backlog=2)
    ledger.upload(tenant="a")
    ledger.upload(tenant="b")
    with pytest.raises(Overloaded):
        ledger.upload(tenant="c")


def test_a_backlog_further_on_counts_too(ledger: Ledger) -> None:
    """Converting is fast, indexing may not be: an upload is refused where it would wait in the end."""
    _bounded(ledger, max_backlog_per_tenant=1)
    submission = ledger.upload(name="first.pdf")
    ledger.working.advance(ledger.start(submission.job_id), Step.SPLIT)
    ledger.working.advance(ledger.start(submission.job_id), Step.INDEX)
    assert ledger.client.llen(Queue.DOCUMENT) == 0
    with pytest.raises(BacklogFull):
        ledger.upload(name="second.pdf")


@pytest.mark.parametrize(
    ("bounds", "refusal"), [({"max_backlog_per_tenant": 1}, BacklogFull), ({"max_backlog": 1}, Overloaded)]
)
def test_what_waits_for_another_try_counts_too(
    ledger: Ledger, bounds: dict[str, int], refusal: type[RefusedForNow]
) -> None:
    """An outage is waited out for more than an hour: without a bound it would fill Redis."""
    _bounded(ledger, **bounds)
    first = ledger.upload(name="first.pdf")
    ledger.working.retry(ledger.start(first.job_id), TransientError("chroma", "add", "refused"), HOUR)
    with pytest.raises(refusal):
        ledger.upload(name="second.pdf")
    make_retry_due(ledger.client, first.job_id)
    assert ledger.sweep() == (0, 1, 0)
    with pytest.raises(refusal):
        ledger.upload(name="second.pdf")
    ledger.commit(first)
    ledger.upload(name="second.pdf")


def test_a_job_that_ends_while_it_waits_for_another_try_counts_no_more(ledger: Ledger) -> None:
    _bounded(ledger, max_backlog=1, max_backlog_per_tenant=1)
    first = ledger.upload(name="first.pdf")
    ledger.working.retry(ledger.start(first.job_id), TransientError("chroma", "add", "refused"), HOUR)
    ledger.run(ledger.accepting.cancel("default", first.job_id))
    ledger.upload(name="second.pdf")


def test_a_refusal_says_when_to_come_again(ledger: Ledger) -> None:
    _bounded(ledger, max_backlog_per_tenant=30)
    jobs = [ledger.upload(name=f"{number}.pdf").job_id for number in range(30)]
    with pytest.raises(BacklogFull) as refused:
        ledger.upload(name="more.pdf")
    assert refused.value.retry_after == timedelta(minutes=1), "nothing has left the queue yet"
    for job in jobs[:20]:
        ledger.start(job)
    for number in range(20):
        ledger.upload(name=f"again-{number}.pdf")
    with pytest.raises(BacklogFull) as refused:
        ledger.upload(name="more.pdf")
    # 20 jobs left within at least 60 s and less than 120 s.
    assert timedelta(seconds=3) <= (refused.value.retry_after or timedelta()) <= timedelta(seconds=6)


def test_what_needs_no_work_is_never_refused(ledger: Ledger) -> None:
    ledger.commit(ledger.upload(name="there.pdf"))
    _bounded(ledger, max_backlog_per_tenant=1)
    ledger.upload(name="waits.pdf")
    assert ledger.upload(name="there.pdf").status is JobState.SUCCEEDED


def test_tokens_of_an_answer_that_broke_off_count_though_its_job_has_ended(ledger: Ledger) -> None:
    _bounded(ledger, tokens_per_day=100)
    ledger.upload()
    claim = ledger.start(ledger.submit(new_query()).job_id)
    ledger.run(ledger.accepting.cancel("default", claim.job.id))
    ledger.working.spend(claim.job.tenant, 100)
    with pytest.raises(BudgetExhausted):
        ledger.submit(new_query())


def test_tokens_of_a_day_run_out_and_only_those_of_one_tenant(ledger: Ledger) -> None:
    _bounded(ledger, tokens_per_day=100)
    for tenant in ("a", "b"):
        ledger.upload(tenant=tenant)
    for prompt_tokens in (60, 39):
        claim = ledger.start(ledger.submit(new_query(tenant="a")).job_id)
        ledger.working.record(claim, events=[("usage", {"prompt_tokens": prompt_tokens, "completion_tokens": 0})])
        ledger.working.finish(claim, {})
    claim = ledger.start(ledger.submit(new_query(tenant="a")).job_id)
    ledger.working.record(claim, events=[("usage", {"completion_tokens": 1})])
    with pytest.raises(BudgetExhausted) as refused:
        ledger.submit(new_query(tenant="a"))
    assert timedelta() < (refused.value.retry_after or timedelta()) <= timedelta(days=1)
    assert ledger.submit(new_query(tenant="b")).job_id


def _repeatable(key: str, request: str = "POST /v1/a") -> Idempotency:
    return Idempotency(key=key, request=request)


def test_a_repeated_upload_is_the_same_job(ledger: Ledger) -> None:
    first = ledger.upload(idempotency=_repeatable("key"))
    again = ledger.upload(idempotency=_repeatable("key"), object_key="originals/second.pdf")
    assert (again.job_id, again.document_id, again.generation) == (first.job_id, first.document_id, first.generation)
    assert (first.repeated, again.repeated, again.unchanged) == (False, True, False)
    assert ledger.client.llen(Queue.DOCUMENT) == 1


def test_a_repeated_question_is_the_same_job(ledger: Ledger) -> None:
    ledger.upload()
    jobs = {ledger.submit(new_query(idempotency=_repeatable("key"))).job_id for _ in range(3)}
    assert len(jobs) == 1
    assert ledger.client.llen(Queue.RAG) == 1


def test_another_request_with_the_same_key_is_refused(ledger: Ledger) -> None:
    ledger.upload(idempotency=_repeatable("key"))
    with pytest.raises(IdempotencyKeyReused):
        ledger.upload(name="other.pdf", idempotency=_repeatable("key", "POST /v1/b"))
    with pytest.raises(IdempotencyKeyReused):
        ledger.submit(new_query(idempotency=_repeatable("key", "POST /v1/c")))


def test_work_that_was_forgotten_is_done_again(ledger: Ledger) -> None:
    """As embeddings are, long before the key."""
    ledger.upload()
    first = ledger.submit(new_query(idempotency=_repeatable("key")))
    ledger.client.delete(f"ragline:job:{first.job_id}")
    assert ledger.submit(new_query(idempotency=_repeatable("key"))).job_id != first.job_id


def test_keys_of_tenants_have_nothing_to_do_with_each_other(ledger: Ledger) -> None:
    of_a = ledger.upload(tenant="a", idempotency=_repeatable("key"))
    of_b = ledger.upload(tenant="b", idempotency=_repeatable("key", "another request"))
    assert of_a.job_id != of_b.job_id


def test_a_refused_request_uses_up_no_key(ledger: Ledger) -> None:
    _bounded(ledger, max_backlog_per_tenant=1)
    waiting = ledger.upload(name="first.pdf")
    with pytest.raises(BacklogFull):
        ledger.upload(name="second.pdf", idempotency=_repeatable("key"))
    ledger.start(waiting.job_id)
    assert not ledger.upload(name="second.pdf", idempotency=_repeatable("key")).repeated


ASKED: dict[str, Any] = {"answer_key": "what-was-asked", "keep_answer": HOUR}
RESULT = {"answer": "Five.", "citations": []}


def _kept(ledger: Ledger, *, profile: str = "model-1", generation: int | None = None) -> KeptAnswer:
    return KeptAnswer(
        generation=ledger.collection().generation if generation is None else generation,
        profile=profile,
        events=[("token", {"text": "Five."}), ("usage", {"prompt_tokens": 7})],
    )


def _answered(ledger: Ledger, kept: KeptAnswer) -> None:
    claim = ledger.start(ledger.submit(new_query(**ASKED)).job_id)
    ledger.working.finish(claim, RESULT, kept)


def test_the_same_question_is_answered_at_once(ledger: Ledger) -> None:
    ledger.commit(ledger.upload())
    _answered(ledger, _kept(ledger))
    submission = ledger.submit(new_query(**ASKED))
    job = ledger.job(submission.job_id)
    assert (submission.status, job.state, job.cached, job.result) == (
        JobState.SUCCEEDED,
        JobState.SUCCEEDED,
        True,
        RESULT,
    )
    events = [(event.type, event.data) for event in ledger.events(job.id)]
    assert events == [
        ("token", {"text": "Five."}),
        ("usage", {"prompt_tokens": 7}),
        ("done", {"state": "succeeded"}),
    ]
    assert ledger.client.llen(Queue.RAG) == 0


@pytest.mark.parametrize("change", ["upload", "delete", "metadata", "profile", "question", "tenant"])
def test_an_answer_is_not_given_again_after_anything_changed(ledger: Ledger, change: str) -> None:
    first = ledger.upload()
    ledger.commit(first)
    _answered(ledger, _kept(ledger))
    asked = new_query(**ASKED)
    match change:
        case "upload":
            ledger.commit(ledger.upload(name="second.pdf"))
        case "delete":
            ledger.delete(str(first.document_id))
        case "metadata":
            ledger.upload(metadata={"year": 2026})
        case "profile":
            ledger.working.announce_profile("model-2")
        case "question":
            asked = new_query(**{**ASKED, "answer_key": "something-else"})
        case _:
            ledger.commit(ledger.upload(tenant="b"))
            asked = new_query(tenant="b", **ASKED)
    assert ledger.submit(asked).status is JobState.QUEUED


def test_an_answer_from_before_a_change_is_kept_for_nobody(ledger: Ledger) -> None:
    """The upload became visible while the answer was being written."""
    ledger.commit(ledger.upload())
    kept = _kept(ledger)
    ledger.commit(ledger.upload(name="second.pdf"))
    _answered(ledger, kept)
    assert ledger.submit(new_query(**ASKED)).status is JobState.QUEUED


def test_a_known_answer_costs_no_tokens(ledger: Ledger) -> None:
    ledger.commit(ledger.upload())
    _answered(ledger, _kept(ledger))
    _bounded(ledger, tokens_per_day=1)
    claim = ledger.start(ledger.submit(new_query()).job_id)
    ledger.working.record(claim, events=[("usage", {"prompt_tokens": 5})])
    with pytest.raises(BudgetExhausted):
        ledger.submit(new_query())
    assert ledger.submit(new_query(**ASKED)).status is JobState.SUCCEEDED


def test_metadata_counts_once_its_version_is_visible(ledger: Ledger) -> None:
    first = ledger.upload(metadata={"year": 2025})
    ledger.commit(first)
    second = ledger.upload(content="second content", metadata={"year": 2026, "final": True})
    assert ledger.document(first.document_id).metadata == {"year": 2025}
    ledger.commit(second)
    assert ledger.document(first.document_id).metadata == {"year": 2026, "final": True}


def test_metadata_of_known_bytes_changes_at_once(ledger: Ledger) -> None:
    first = ledger.upload(metadata={"year": 2025})
    ledger.commit(first)
    before = ledger.collection().generation
    again = ledger.upload(metadata={"year": 2026})
    assert again.status is JobState.SUCCEEDED
    assert ledger.document(first.document_id).metadata == {"year": 2026}
    assert ledger.collection().generation == before + 1 == again.generation


def test_no_generation_comes_twice_though_its_collection_was_deleted(ledger: Ledger) -> None:
    """Or an answer of the old collection would be given to questions about the new one."""
    ledger.commit(ledger.upload())
    _answered(ledger, _kept(ledger))
    claim = ledger.start(
        ledger.submit(NewJob(tenant="default", kind=JobKind.DROP, params={}, collection=COLLECTION)).job_id
    )
    [document] = ledger.working.document_ids("default", COLLECTION)
    ledger.working.delete_documents(claim, [document])
    ledger.working.finish(ledger.start(ledger.document(document).job_id), {})
    ledger.working.finish(claim, {})
    ledger.commit(ledger.upload(content="other content"))
    assert ledger.submit(new_query(**ASKED)).status is JobState.QUEUED


def test_a_failure_that_another_try_may_mend_is_not_repeated_to_who_tries(ledger: Ledger) -> None:
    ledger.upload()
    first = ledger.submit(new_query(idempotency=_repeatable("key")))
    claim = ledger.start(first.job_id)
    ledger.working.retry(claim, InternalError("broken"), HOUR, max_attempts=1)
    assert ledger.job(first.job_id).state is JobState.FAILED
    assert ledger.submit(new_query(idempotency=_repeatable("key"))).job_id != first.job_id


def test_what_makes_room_is_never_refused(ledger: Ledger) -> None:
    document = str(ledger.upload().document_id)
    _bounded(ledger, max_backlog=1, max_backlog_per_tenant=1)
    assert ledger.delete(document).job_id


def test_metadata_of_bytes_that_have_just_become_visible_changes_at_once(ledger: Ledger) -> None:
    first = ledger.upload(metadata={"year": 2025})
    ledger.working.commit(ledger.index(first), pages=1, chunks=1)
    ledger.upload(metadata={"year": 2026})
    assert ledger.document(first.document_id).metadata == {"year": 2026}
