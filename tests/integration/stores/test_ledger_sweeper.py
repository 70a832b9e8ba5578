"""The sweeper finds what nobody will come back to, and nothing else."""

import json
from datetime import timedelta

import pytest

from ragline.common.models import JobState
from ragline.common.queues import Queue
from ragline.stores.ledger import accepting
from ragline.stores.ledger.keys import unacked_key
from ragline.stores.ledger.sweeping import Swept
from tests.support.ledger import (
    Ledger,
    expire_lease,
    message_ids,
    new_query,
    open_sweep,
    pass_half_grace,
    pass_outage,
    queued_key,
)


def _lose_message(ledger: Ledger, queue: Queue = Queue.DOCUMENT) -> None:
    """A worker takes a message and dies before it claims the step."""
    assert ledger.client.rpop(queue)


def _restored(raw: str) -> str:
    """The envelope as kombu writes it when it puts a message back: other spacing, a flag in two places."""
    envelope = json.loads(raw)
    envelope["headers"]["redelivered"] = envelope["properties"]["delivery_info"]["redelivered"] = True
    return json.dumps(envelope)


def test_nothing_to_do(ledger: Ledger) -> None:
    ledger.upload()
    assert ledger.sweep() == (0, 0, 0)
    assert ledger.sweep_past_grace() == 0


def test_expired_lease_is_queued_again(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.start(submission.job_id)
    expire_lease(ledger.client, submission.job_id)
    assert ledger.sweep() == (1, 0, 0)
    job = ledger.job(submission.job_id)
    assert (job.step_state, job.crashes, job.position) == ("queued", 1, 0)
    assert message_ids(ledger.client, Queue.DOCUMENT) == [submission.job_id]
    assert ledger.sweep() == (0, 0, 0)


def test_an_outage_that_outlasted_the_leases_is_nobody_s_crash(ledger: Ledger) -> None:
    submission = ledger.upload()
    claim = ledger.start(submission.job_id)
    ledger.sweep()
    pass_outage(ledger.client)
    expire_lease(ledger.client, submission.job_id)
    assert ledger.sweep() == (0, 0, 0)
    assert ledger.claim(submission.job_id, worker="worker-2") is None
    ledger.working.record(claim, progress=(1, 2, "pages"))
    expire_lease(ledger.client, submission.job_id)
    assert ledger.sweep() == (1, 0, 0)


def test_a_lost_claim_says_whose_it_was(ledger: Ledger) -> None:
    submission = ledger.upload()
    before = ledger.start(submission.job_id, span=f"00-{'a' * 32}-{'b' * 16}-01")
    expire_lease(ledger.client, submission.job_id)
    open_sweep(ledger.client)

    [lost] = ledger.run(ledger.accepting.sweep()).lost

    job = before.job
    assert (lost.job_id, lost.step, lost.queue, lost.attempt) == (job.id, "convert", "document", 1)
    assert (lost.tenant, lost.document_id, lost.worker) == (job.tenant, submission.document_id, job.worker)
    assert (lost.request_id, lost.traceparent) == (job.request_id, job.traceparent)
    assert lost.span[36:52] == "b" * 16
    # Since the claim; where the lease's end lies between, the test has moved.
    assert timedelta() <= lost.held + lost.silent < timedelta(seconds=10)


def test_vanished_message_is_found_after_the_grace(ledger: Ledger) -> None:
    submission = ledger.upload()
    _lose_message(ledger)
    assert ledger.sweep() == (0, 0, 0)
    assert ledger.sweep_past_grace() == 1
    assert message_ids(ledger.client, Queue.DOCUMENT) == [submission.job_id]
    assert ledger.job(submission.job_id).crashes == 0


def test_vanished_message_is_found_among_waiting_ones(ledger: Ledger) -> None:
    lost = ledger.upload(name="lost.pdf")
    waiting = [ledger.upload(tenant=f"tenant-{number}").job_id for number in range(30)]
    _lose_message(ledger)
    assert ledger.sweep_past_grace() == 1
    assert message_ids(ledger.client, Queue.DOCUMENT) == [*waiting, lost.job_id]


def test_message_that_waits_behind_others_has_not_vanished(ledger: Ledger) -> None:
    for number in range(30):
        ledger.upload(tenant=f"tenant-{number}")
    assert ledger.sweep_past_grace() == 0
    assert ledger.client.llen(Queue.DOCUMENT) == 30


def test_message_behind_a_long_row_of_foreign_ones_has_not_vanished(ledger: Ledger) -> None:
    ledger.client.rpush(Queue.DOCUMENT, *[json.dumps({"properties": {"delivery_tag": str(n)}}) for n in range(30)])
    ledger.upload()
    assert ledger.sweep_past_grace() == 0


def test_message_on_its_way_has_not_vanished_however_long_it_waited(ledger: Ledger) -> None:
    """A cold worker takes a message and loads its model before it claims the step."""
    submission = ledger.upload()
    ledger.upload(name="behind.pdf")
    assert ledger.sweep_past_grace() == 0
    message = ledger.take()
    for _ in range(3):
        assert ledger.sweep() == (0, 0, 0)
    pass_half_grace(ledger.client)
    assert ledger.sweep() == (0, 0, 0)
    assert ledger.claim(message.job_id) is not None
    assert ledger.sweep_past_grace() == 0
    assert ledger.job(submission.job_id).attempts == 1


@pytest.mark.parametrize("end", ["next", "last"])
def test_message_that_kombu_put_back_is_recognised(ledger: Ledger, end: str) -> None:
    first, second = ledger.upload(name="1.pdf"), ledger.upload(name="2.pdf")
    raw = _restored(str(ledger.client.rpop(Queue.DOCUMENT)))
    (ledger.client.rpush if end == "next" else ledger.client.lpush)(Queue.DOCUMENT, raw)
    assert ledger.sweep_past_grace() == 0
    assert sorted(message_ids(ledger.client, Queue.DOCUMENT)) == sorted([first.job_id, second.job_id])


def test_message_in_kombus_hands_is_queued_again_after_the_grace(ledger: Ledger) -> None:
    """The worker died between taking it and claiming the step; kombu's own redelivery comes much later."""
    submission = ledger.upload()
    ledger.client.hset(unacked_key(Queue.DOCUMENT), "tag", str(ledger.client.rpop(Queue.DOCUMENT)))
    assert ledger.sweep_past_grace() == 1
    assert ledger.start(submission.job_id).job.attempts == 1
    assert ledger.claim(submission.job_id) is None


def test_all_queues_are_looked_at(ledger: Ledger) -> None:
    ledger.upload()
    query, deletion = ledger.submit(new_query()), ledger.delete(str(ledger.upload(name="other.pdf").document_id))
    ledger.client.delete(*Queue)
    assert ledger.sweep_past_grace() == 3
    assert message_ids(ledger.client, Queue.RAG) == [query.job_id]
    assert message_ids(ledger.client, Queue.VECTORSTORE) == [deletion.job_id]


def test_finished_job_is_never_queued_again(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.commit(submission)
    assert ledger.sweep_past_grace() == 0
    assert ledger.job(submission.job_id).state is JobState.SUCCEEDED


def test_one_sweep_a_period(ledger: Ledger) -> None:
    submission = ledger.upload()
    assert ledger.sweep() == (0, 0, 0)
    ledger.start(submission.job_id)
    expire_lease(ledger.client, submission.job_id)
    assert ledger.run(ledger.accepting.sweep()) == Swept()
    assert 0 < ledger.client.pttl("ragline:sweeper") < 1_000
    open_sweep(ledger.client)
    assert len(ledger.run(ledger.accepting.sweep()).lost) == 1


def test_sweep_has_a_limit_and_the_next_one_goes_on(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "_SWEEP_LIMIT", 2)
    submissions = [ledger.upload(name=f"{number}.pdf") for number in range(5)]
    for submission in submissions:
        ledger.start(submission.job_id)
        expire_lease(ledger.client, submission.job_id)
    assert [ledger.sweep()[0] for _ in range(4)] == [2, 2, 1, 0]
    assert ledger.client.llen(Queue.DOCUMENT) == 5


def test_emptied_queue_is_filled_again_sweep_by_sweep(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "_SWEEP_LIMIT", 2)
    for number in range(5):
        ledger.upload(name=f"{number}.pdf")
    ledger.client.delete(Queue.DOCUMENT)
    assert ledger.sweep_past_grace() == 2
    assert [ledger.sweep()[2] for _ in range(3)] == [2, 1, 0]
    assert ledger.client.llen(Queue.DOCUMENT) == 5
    assert ledger.sweep_past_grace() == 0


def test_index_entry_without_its_job_stops_no_sweep(ledger: Ledger) -> None:
    submission = ledger.upload()
    ledger.start(submission.job_id)
    expire_lease(ledger.client, submission.job_id)
    for key in ("ragline:leases", "ragline:delayed", queued_key(Queue.DOCUMENT)):
        ledger.client.zadd(key, {"job_gone": 0})
    ledger.sweep_past_grace()
    assert message_ids(ledger.client, Queue.DOCUMENT) == [submission.job_id]
    assert not any("job_gone" in key for key in ledger.client.scan_iter())
    assert ledger.client.zscore(queued_key(Queue.DOCUMENT), "job_gone") is None
