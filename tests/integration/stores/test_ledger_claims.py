"""Claims: who may work on a step, how often, and what a worker without the claim can still do (nothing)."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from ragline.common.constants import MAX_CRASHES
from ragline.common.errors import AttemptsExhausted, InternalError, Quarantined, TransientError
from ragline.common.models import DocumentState, JobState
from ragline.common.queues import Queue, Step
from ragline.stores.ledger.claims import Claim, ClaimLost, ClaimState
from ragline.stores.ledger.keys import job_key, littered_key, workers_key
from ragline.stores.ledger.working import WorkLedger
from tests.support.ledger import Client, Ledger, expire_lease, make_retry_due, message_ids, new_query
from tests.support.waiting import wait_until

AWAY = TransientError("chroma", "add", "refused")
MINUTE = timedelta(minutes=1)

EFFECTS: dict[str, Callable[[WorkLedger, Claim], object]] = {
    "advance": lambda ledger, claim: ledger.advance(claim, Step.SPLIT),
    "commit": lambda ledger, claim: ledger.commit(claim, pages=1, chunks=1),
    "fail": lambda ledger, claim: ledger.fail(claim, InternalError("broken")),
    "finish": lambda ledger, claim: ledger.finish(claim, {}),
    "hand_back": lambda ledger, claim: ledger.hand_back(claim, interrupted=False, progressed=True),
    "record": lambda ledger, claim: ledger.record(claim, progress=(1, 2, "pages"), checkpoint={"next_page": 2}),
    "retry": lambda ledger, claim: ledger.retry(claim, AWAY, MINUTE),
}


def _contents(client: Client) -> dict[str, object]:
    """All but which documents are to be cleaned: what a stale worker wrote elsewhere is."""
    return {key: client.dump(key) for key in client.scan_iter() if key != littered_key()}


def test_claim_gives_a_token_and_counts_the_attempt_at_the_start(ledger: Ledger) -> None:
    submission = ledger.upload()
    claim = ledger.start(submission.job_id, worker="document@pod-1")
    assert int(claim.token) > 0
    assert claim.checkpoint == {}
    job = ledger.job(submission.job_id)
    assert (job.state, job.step_state, job.attempts) == (JobState.RUNNING, "leased", 1)
    assert (job.worker, job.started_at > 0, job.position) == ("document@pod-1", True, None)
    assert ledger.document(submission.document_id).state is DocumentState.CONVERTING


def test_tokens_only_go_up(ledger: Ledger) -> None:
    submission = ledger.upload()
    tokens = []
    for _ in range(2):
        claim = ledger.start(submission.job_id)
        tokens.append(int(claim.token))
        ledger.working.hand_back(claim, interrupted=True, progressed=False)
    tokens.append(int(ledger.index(submission).token))
    assert tokens == sorted(set(tokens))


def test_second_copy_of_a_message_finds_nothing_to_do(ledger: Ledger) -> None:
    submission = ledger.upload()
    claim = ledger.start(submission.job_id)
    before = _contents(ledger.client)
    assert ledger.claim(submission.job_id) is None
    assert _contents(ledger.client) == before
    ledger.working.record(claim, progress=(1, 2, "pages"))


def test_message_of_an_earlier_step_finds_nothing_to_do(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.working.advance(ledger.start(submission.job_id), Step.SPLIT)
    assert ledger.claim(submission.job_id, Step.CONVERT) is None
    assert ledger.job(submission.job_id).attempts == 0


def test_message_of_an_unknown_job_finds_nothing_to_do(ledger: Ledger) -> None:
    assert ledger.claim("job_unknown", Step.CONVERT) is None
    assert ledger.client.keys() == []


@pytest.mark.parametrize("effect", EFFECTS)
def test_stale_token_changes_nothing(ledger: Ledger, effect: str) -> None:
    submission = ledger.upload()
    stale = ledger.start(submission.job_id)
    expire_lease(ledger.client, submission.job_id)
    assert ledger.claim(submission.job_id, worker="worker-2") is not None
    before = _contents(ledger.client)
    with pytest.raises(ClaimLost) as lost:
        EFFECTS[effect](ledger.working, stale)
    assert lost.value.state is ClaimState.LOST
    assert _contents(ledger.client) == before
    assert ledger.client.smembers(littered_key()) == {submission.document_id}
    assert ledger.working.renew([stale]) == [ClaimState.LOST]


@pytest.mark.parametrize("effect", EFFECTS)
def test_token_of_a_swept_step_changes_nothing(ledger: Ledger, effect: str) -> None:
    submission = ledger.upload()
    stale = ledger.start(submission.job_id)
    expire_lease(ledger.client, submission.job_id)
    assert ledger.sweep() == (1, 0, 0)
    before = _contents(ledger.client)
    with pytest.raises(ClaimLost):
        EFFECTS[effect](ledger.working, stale)
    assert _contents(ledger.client) == before
    assert ledger.client.smembers(littered_key()) == {submission.document_id}


@pytest.mark.parametrize("effect", EFFECTS)
def test_token_of_a_finished_job_changes_nothing(ledger: Ledger, effect: str) -> None:
    submission = ledger.upload()
    stale = ledger.start(submission.job_id)
    ledger.working.fail(stale, InternalError("broken"))
    before = _contents(ledger.client)
    with pytest.raises(ClaimLost):
        EFFECTS[effect](ledger.working, stale)
    assert _contents(ledger.client) == before
    assert ledger.client.smembers(littered_key()) == {submission.document_id}


def test_a_renewal_that_meets_the_end_of_its_step_has_nothing_cleaned(ledger: Ledger) -> None:
    submission = ledger.upload()
    claim = ledger.start(submission.job_id)
    ledger.working.advance(claim, Step.SPLIT)
    assert ledger.working.renew([claim]) == [ClaimState.LOST]
    assert ledger.littered() == set()


def test_expired_lease_can_be_claimed_and_counts_a_crash(ledger: Ledger) -> None:
    submission = ledger.upload()
    lost = ledger.start(submission.job_id)
    expire_lease(ledger.client, submission.job_id)
    claim = ledger.claim(submission.job_id, worker="worker-2")
    assert claim is not None
    assert int(claim.token) > int(lost.token)
    assert (claim.job.crashes, claim.job.attempts, claim.job.worker) == (1, 2, "worker-2")


def test_a_claim_that_a_failover_forgot_is_not_the_one_given_after_it(ledger: Ledger) -> None:
    submission = ledger.upload()
    job = job_key(submission.job_id)
    replicated = ledger.client.dump(job)
    forgotten = ledger.start(submission.job_id)
    ledger.client.restore(job, 0, replicated, replace=True)
    claim = ledger.claim(submission.job_id, worker="worker-2")
    assert claim is not None
    with pytest.raises(ClaimLost):
        ledger.working.hand_back(forgotten, interrupted=False, progressed=False)
    assert ledger.job(submission.job_id).worker == "worker-2"


def test_tokens_go_up_while_the_clock_of_the_server_is_behind(ledger: Ledger) -> None:
    submission = ledger.upload()
    ahead = 8 * 10**15
    ledger.client.hset(job_key(submission.job_id), "token", ahead)
    assert int(ledger.start(submission.job_id).token) > ahead


def test_lease_that_ran_out_still_holds_until_somebody_else_claims(ledger: Ledger) -> None:
    submission = ledger.upload()
    claim = ledger.start(submission.job_id)
    expire_lease(ledger.client, submission.job_id)
    assert ledger.working.renew([claim]) == [ClaimState.OK]
    assert ledger.sweep() == (0, 0, 0)
    ledger.working.advance(claim, Step.SPLIT)


def test_short_lease_runs_out_by_the_server_clock(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.start(submission.job_id, lease=timedelta(milliseconds=200))
    assert ledger.claim(submission.job_id, worker="worker-2") is None
    wait_until(lambda: ledger.claim(submission.job_id, worker="worker-2") is not None, timeout_seconds=5)
    assert ledger.job(submission.job_id).crashes == 1


def test_renewal_never_shortens_a_lease(ledger: Ledger) -> None:
    """A workflow's lease outlasts the usual one, and the keeper's thread may renew it while it is set up."""
    submission = ledger.upload()
    claim = ledger.start(submission.job_id, lease=timedelta(minutes=2))
    lease_until = ledger.field(submission.job_id, "lease_until")
    assert ledger.working.renew([claim]) == [ClaimState.OK]
    assert ledger.field(submission.job_id, "lease_until") == lease_until
    assert ledger.client.zscore("ragline:leases", submission.job_id) == float(lease_until)


def test_renewal_extends_each_lease_and_answers_for_each(ledger: Ledger) -> None:
    claims = [ledger.start(ledger.upload(name=name).job_id, lease=timedelta(seconds=1)) for name in ("a", "b", "c")]
    ledger.working.fail(claims[1], InternalError("broken"))
    ledger.run(ledger.accepting.cancel("default", claims[2].job.id))
    before = int(ledger.field(claims[0].job.id, "lease_until"))
    assert ledger.working.renew(claims) == [ClaimState.OK, ClaimState.LOST, ClaimState.CANCELLED]
    assert int(ledger.field(claims[0].job.id, "lease_until")) > before + 10_000


def test_three_crashes_quarantine_job_and_document(ledger: Ledger) -> None:
    submission = ledger.upload()
    for crash in range(MAX_CRASHES):
        assert ledger.job(submission.job_id).crashes == crash
        ledger.start(submission.job_id)
        expire_lease(ledger.client, submission.job_id)
        ledger.sweep()
    job, document = ledger.job(submission.job_id), ledger.document(submission.document_id)
    assert (job.state, document.state) == (JobState.FAILED, DocumentState.FAILED)
    assert job.error == document.error
    assert job.error is not None
    assert job.error.code == Quarantined.code
    assert message_ids(ledger.client, Queue.DOCUMENT) == []


def test_third_crash_found_by_a_claim_ends_the_job_too(ledger: Ledger) -> None:
    submission = ledger.upload()
    for _ in range(MAX_CRASHES):
        assert ledger.claim(submission.job_id, max_attempts=100) is not None
        expire_lease(ledger.client, submission.job_id)
    assert ledger.claim(submission.job_id, max_attempts=100) is None
    assert ledger.job(submission.job_id).state is JobState.FAILED


def test_interrupted_step_goes_on_from_its_checkpoint_and_counts_no_attempt(ledger: Ledger) -> None:
    submission = ledger.upload()
    claim = ledger.start(submission.job_id)
    ledger.working.record(claim, progress=(3, 9, "pages"), checkpoint={"next_page": 4})
    ledger.working.hand_back(claim, interrupted=True, progressed=False)
    waiting = ledger.job(submission.job_id)
    assert (waiting.step_state, waiting.attempts, waiting.interruptions) == ("queued", 0, 1)
    assert (waiting.progress_done, waiting.progress_total, waiting.progress_unit) == (3, 9, "pages")
    claim = ledger.start(submission.job_id)
    assert (claim.checkpoint, claim.job.attempts) == ({"next_page": 4}, 1)


def test_spent_budget_with_progress_starts_the_counts_anew(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.start(submission.job_id)
    expire_lease(ledger.client, submission.job_id)
    ledger.sweep()
    ledger.working.hand_back(ledger.start(submission.job_id), interrupted=False, progressed=True)
    job = ledger.job(submission.job_id)
    assert (job.attempts, job.crashes, job.interruptions) == (0, 0, 0)


def test_spent_budgets_without_progress_end_the_job(ledger: Ledger) -> None:
    submission = ledger.upload()
    for _ in range(3):
        ledger.working.hand_back(ledger.start(submission.job_id), interrupted=False, progressed=False)
    ledger.take()
    assert ledger.claim(submission.job_id) is None
    job = ledger.job(submission.job_id)
    assert (job.state, job.attempts, job.error and job.error.code) == (JobState.FAILED, 3, AttemptsExhausted.code)


def test_advance_starts_the_next_step_fresh(ledger: Ledger) -> None:
    submission = ledger.upload()
    claim = ledger.start(submission.job_id)
    ledger.working.record(claim, progress=(3, 9, "pages"), checkpoint={"next_page": 4})
    ledger.working.advance(claim, Step.SPLIT)
    job = ledger.job(submission.job_id)
    assert (job.step, job.step_state, job.attempts, job.progress_total) == (Step.SPLIT, "queued", 0, 0)
    assert ledger.start(submission.job_id).checkpoint == {}


def test_retry_waits_for_its_time(ledger: Ledger) -> None:
    submission = ledger.upload()
    assert ledger.working.retry(ledger.start(submission.job_id), AWAY, MINUTE)
    job = ledger.job(submission.job_id)
    assert (job.state, job.step_state, job.error and job.error.code) == (JobState.RUNNING, "delayed", AWAY.code)
    assert job.retry_at > 0
    assert ledger.client.zscore("ragline:leases", submission.job_id) is None
    assert ledger.claim(submission.job_id) is None
    assert ledger.sweep() == (0, 0, 0)
    make_retry_due(ledger.client, submission.job_id)
    assert ledger.sweep() == (0, 1, 0)
    assert ledger.start(submission.job_id).job.attempts == 2


def test_retries_are_exhausted(ledger: Ledger) -> None:
    submission = ledger.upload()
    for last in (False, False, True):
        again = ledger.working.retry(ledger.start(submission.job_id), AWAY, MINUTE, max_attempts=3)
        assert again is not last
        if again:
            make_retry_due(ledger.client, submission.job_id)
            ledger.sweep()
    job, document = ledger.job(submission.job_id), ledger.document(submission.document_id)
    assert (job.state, document.state) == (JobState.FAILED, DocumentState.FAILED)
    assert job.error is not None
    assert (job.error.code, job.error.detail) == (AttemptsExhausted.code, AWAY.detail)


def test_success_after_a_retry_leaves_no_error(ledger: Ledger) -> None:
    ledger.upload()
    submission = ledger.submit(new_query())
    ledger.working.retry(ledger.start(submission.job_id), AWAY, MINUTE)
    make_retry_due(ledger.client, submission.job_id)
    ledger.sweep()
    ledger.working.finish(ledger.start(submission.job_id), {"answer": "30 days"})
    job = ledger.job(submission.job_id)
    assert (job.state, job.error, job.result) == (JobState.SUCCEEDED, None, {"answer": "30 days"})


def test_crash_after_the_commit_never_takes_progress_back(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.working.commit(ledger.index(submission), pages=2, chunks=10)
    expire_lease(ledger.client, submission.job_id)
    ledger.sweep()
    claim = ledger.start(submission.job_id)
    assert ledger.document(submission.document_id).state is DocumentState.INDEXED
    ledger.working.commit(claim, pages=2, chunks=10)
    assert ledger.collection().generation == 1


def test_claim_passed_to_another_process(ledger: Ledger) -> None:
    submission = ledger.upload()
    claim = ledger.start(submission.job_id)
    assert ledger.working.claim_of("job_unknown", "1") is None
    passed = ledger.working.claim_of(submission.job_id, claim.token)
    assert passed is not None
    ledger.working.advance(passed, Step.SPLIT)


@pytest.mark.parametrize("detail", ["lone surrogate \ud83d", "x" * 100_000])
def test_any_error_text_can_be_recorded(ledger: Ledger, detail: str) -> None:
    submission = ledger.upload()
    ledger.working.fail(ledger.start(submission.job_id), InternalError(detail))
    error = ledger.job(submission.job_id).error
    assert error is not None
    assert error.detail[:4] == detail[:4]
    assert len(error.detail) <= 2_000


def test_heartbeats_name_the_living_workers(ledger: Ledger) -> None:
    ledger.client.zadd(workers_key(Queue.RAG), {"rag@dead-pod": 1})
    for worker in ("rag@pod-1", "rag@pod-2"):
        ledger.working.heartbeat(Queue.RAG, worker)
    ledger.working.leave(Queue.RAG, "rag@pod-2")
    statuses = {status.queue: status.workers for status in ledger.run(ledger.accepting.queues())}
    assert statuses == {Queue.DEFAULT: (), Queue.DOCUMENT: (), Queue.VECTORSTORE: (), Queue.RAG: ("rag@pod-1",)}
    assert ledger.client.zrange(workers_key(Queue.RAG), 0, -1) == ["rag@pod-1"]
