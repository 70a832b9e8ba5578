"""The envelope built by hand, read by a real worker of the pinned Celery and kombu."""

import asyncio
import json
from typing import cast

import pytest
import redis
import redis.asyncio

from ragline.common.constants import DEFAULT_TENANT
from ragline.common.messages import DELIVERY_TAG_PLACEHOLDER, StepMessage, step_envelope
from ragline.common.queues import JobKind, Queue, Step
from ragline.common.trace_context import TraceContext, new_trace
from ragline.stores.ledger.accepting import AcceptLedger, NewJob
from ragline.stores.ledger.keys import unacked_key
from tests.support.stack import Stack
from tests.support.waiting import wait_until

OTEL_HEADERS = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "vendor=value",
    "baggage": "key=value",
}


def _held(client: "redis.Redis", tag: str) -> bool:
    """Whether a message is on the queue or in flight."""
    waiting = cast("list[str]", client.lrange(Queue.DEFAULT, 0, -1))
    in_flight = cast("list[str]", client.hvals(unacked_key(Queue.DEFAULT)))
    return any(tag in message for message in (*waiting, *in_flight))


def _accept(stack: Stack, trace: TraceContext) -> str:
    async def accept() -> str:
        async with redis.asyncio.Redis.from_url(stack.redis_url, decode_responses=True) as client:
            new = NewJob(tenant=DEFAULT_TENANT, kind=JobKind.PROCESS, params={"data": "from a contract test"})
            return (await AcceptLedger(client).accept_job(new, trace)).job_id

    return asyncio.run(accept())


@pytest.mark.parametrize("traceparent", [None, OTEL_HEADERS["traceparent"]], ids=["own-trace", "callers-trace"])
def test_a_real_worker_runs_the_accepted_step(stack: Stack, traceparent: str | None) -> None:
    job = stack.finished_job(_accept(stack, new_trace(traceparent=traceparent)))

    assert (job["status"], job["result"]["words"]) == ("succeeded", 4)
    assert traceparent is None or job["trace_id"] == traceparent[3:35]


@pytest.mark.parametrize("headers", [{}, OTEL_HEADERS], ids=["without-otel", "with-otel"])
def test_a_second_copy_is_read_acknowledged_and_changes_nothing(stack: Stack, headers: dict[str, str]) -> None:
    job_id = _accept(stack, new_trace())
    finished = stack.finished_job(job_id)
    envelope = step_envelope(StepMessage(job_id=job_id, step=Step.PROCESS), headers=headers)

    with redis.Redis.from_url(stack.redis_url, decode_responses=True) as client:
        client.lpush(Queue.DEFAULT, envelope.replace(DELIVERY_TAG_PLACEHOLDER, "ragline-0-copy"))
        wait_until(lambda: not _held(client, "ragline-0-copy"), timeout_seconds=10)

    assert stack.client.get(f"/v1/jobs/{job_id}").json() == finished


def test_a_message_of_a_newer_release_is_put_back_and_not_dropped(stack: Stack) -> None:
    newer = StepMessage.model_construct(v=2, job_id="job_of_tomorrow", step=Step.PROCESS)
    envelope = step_envelope(newer, headers={}).replace(DELIVERY_TAG_PLACEHOLDER, "ragline-0-tomorrow")
    log = stack.workers[Queue.DEFAULT].log

    def put_back() -> int:
        return log.read_text().count("message of another release put back")

    with redis.Redis.from_url(stack.redis_url, decode_responses=True) as client:
        client.lpush(Queue.DEFAULT, envelope)
        wait_until(lambda: put_back() >= 2, timeout_seconds=20)
        # For a moment between the two it is seen in neither.
        wait_until(lambda: _held(client, "ragline-0-tomorrow"), timeout_seconds=5)
        # A worker that waits with it must not keep others from their work.
        assert stack.finished_job(_accept(stack, new_trace()))["status"] == "succeeded"
        _remove(client, "ragline-0-tomorrow")


def _remove(client: "redis.Redis", tag: str) -> None:
    def gone() -> bool:
        for message in cast("list[str]", client.lrange(Queue.DEFAULT, 0, -1)):
            if json.loads(message)["properties"]["delivery_tag"] == tag:
                # None, when a worker has just taken it.
                return bool(client.lrem(Queue.DEFAULT, 0, message))
        return False

    wait_until(gone, timeout_seconds=20, interval_seconds=0.001)
