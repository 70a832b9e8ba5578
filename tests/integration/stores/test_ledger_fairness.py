"""Fair shares of a queue: nobody waits behind all of another tenant's work."""

import pytest

from ragline.common.constants import TENANT_SHARE
from ragline.common.queues import Queue
from ragline.stores.ledger.keys import held_key
from tests.support.ledger import Ledger, message_ids, queued_key


def _uploads(ledger: Ledger, tenant: str, count: int) -> list[str]:
    return [ledger.upload(tenant=tenant, name=f"{number}.pdf").job_id for number in range(count)]


def test_a_newcomer_waits_behind_one_share_and_not_behind_a_thousand(ledger: Ledger) -> None:
    _uploads(ledger, "greedy", 1000)
    modest = ledger.upload(tenant="modest").job_id
    assert message_ids(ledger.client, Queue.DOCUMENT).index(modest) == TENANT_SHARE
    assert ledger.job(modest, tenant="modest").position == TENANT_SHARE


def test_held_jobs_move_up_in_their_order(ledger: Ledger) -> None:
    jobs = _uploads(ledger, "greedy", TENANT_SHARE + 3)
    assert message_ids(ledger.client, Queue.DOCUMENT) == jobs[:TENANT_SHARE]
    ledger.start(jobs[0])
    ledger.start(jobs[1])
    assert message_ids(ledger.client, Queue.DOCUMENT) == jobs[2 : TENANT_SHARE + 2]
    assert [ledger.job(job, tenant="greedy").position for job in jobs[-2:]] == [TENANT_SHARE - 1, TENANT_SHARE]


def test_tenants_take_turns(ledger: Ledger) -> None:
    of_a, of_b = _uploads(ledger, "a", 100), _uploads(ledger, "b", 100)
    order: list[str] = []
    while job := _next(ledger):
        order.append(job)
    assert sorted(order) == sorted(of_a + of_b)
    early = order[: 4 * TENANT_SHARE]
    assert len([job for job in early if job in set(of_b)]) == 2 * TENANT_SHARE


def _next(ledger: Ledger) -> str | None:
    """Start the next waiting job."""
    waiting = message_ids(ledger.client, Queue.DOCUMENT)
    if waiting:
        ledger.start(waiting[0])
    return waiting[0] if waiting else None


def test_all_who_wait_are_counted(ledger: Ledger) -> None:
    _uploads(ledger, "greedy", 100)
    status = next(status for status in ledger.run(ledger.accepting.queues()) if status.queue is Queue.DOCUMENT)
    assert status.waiting == 100


@pytest.mark.parametrize("place", [0, TENANT_SHARE + 1], ids=["on the queue", "held"])
def test_a_cancelled_job_leaves_its_place(ledger: Ledger, place: int) -> None:
    jobs = _uploads(ledger, "greedy", TENANT_SHARE + 3)
    ledger.run(ledger.accepting.cancel("greedy", jobs[place]))
    waiting = [job for job in jobs if job != jobs[place]]
    on_queue = ledger.client.zrange(queued_key(Queue.DOCUMENT), 0, -1)
    held = ledger.client.zrange(held_key(Queue.DOCUMENT), 0, -1)
    assert [*on_queue, *held] == waiting
    assert len(on_queue) == TENANT_SHARE


def test_the_sweeper_frees_places_that_nobody_has_any_more(ledger: Ledger) -> None:
    """As after a backup that was restored without some of the jobs."""
    jobs = _uploads(ledger, "greedy", TENANT_SHARE + 3)
    for job in jobs[:TENANT_SHARE]:
        ledger.client.delete(f"ragline:job:{job}")
    ledger.client.delete(Queue.DOCUMENT)
    ledger.sweep_past_grace()
    ledger.sweep()
    assert message_ids(ledger.client, Queue.DOCUMENT) == jobs[TENANT_SHARE:]
    assert not ledger.client.exists(held_key(Queue.DOCUMENT))


def test_held_jobs_that_are_gone_are_passed_over(ledger: Ledger) -> None:
    """As after a backup that was restored without them."""
    jobs = _uploads(ledger, "greedy", TENANT_SHARE + 3)
    for job in jobs[TENANT_SHARE : TENANT_SHARE + 2]:
        ledger.client.delete(f"ragline:job:{job}")
    ledger.start(jobs[0])
    assert message_ids(ledger.client, Queue.DOCUMENT) == [*jobs[1:TENANT_SHARE], jobs[-1]]
