"""The hash that all processes count into: what is added to it, and what is read with it, against the truth."""

import asyncio
import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import redis
import redis.asyncio

from ragline.common.constants import BROKER_TIMEOUT_SECONDS
from ragline.common.errors import TransientError
from ragline.common.measurements import Measurements
from ragline.common.metrics import (
    HTTP_DURATION,
    PAGES,
    QUEUE_HELD,
    QUEUE_IN_FLIGHT,
    QUEUE_OLDEST_AGE,
    QUEUE_WAITING,
    QUEUE_WORKERS,
    REDIS_AOF_OK,
    REDIS_CLIENTS,
    REDIS_MEMORY,
    REDIS_MEMORY_LIMIT,
)
from ragline.common.queues import Queue
from ragline.stores.ledger.keys import held_key, job_key, metrics_key, unacked_key
from ragline.stores.metrics import MeasurementWriter, MetricsStore
from tests.support.ledger import Client, Ledger, queued_key
from tests.support.servers import free_port, valkey_server
from tests.support.waiting import wait_until

MANY = 100_000
OLD_MS = 90_000


def _read(url: str, times: int = 1) -> tuple[dict[str, int], float]:
    """The values, and how many milliseconds a reading took: the median."""

    async def read() -> tuple[dict[str, int], float]:
        client = redis.asyncio.Redis.from_url(url, decode_responses=True)
        store, took = MetricsStore(client), []
        values = await store.read()
        for _ in range(times):
            started = time.perf_counter()
            values = await store.read()
            took.append((time.perf_counter() - started) * 1_000)
        await client.aclose()
        return values, statistics.median(took)

    return asyncio.run(read())


def _queue_many(client: Client, tenants: int) -> None:
    """As if many jobs had been accepted a second after each other: the oldest is held, or has just got its place."""
    now = int(client.time()[0]) * 1_000
    pipe = client.pipeline(transaction=False)
    for number in range(MANY):
        pipe.hset(job_key(f"job_{number}"), "queued_at", now - (OLD_MS if number == 100 else number % 60_000))
    pipe.execute()
    jobs = {f"job_{number}": number for number in range(MANY)}
    listed = dict(list(jobs.items())[: 16 * tenants])
    client.zadd(queued_key(Queue.DOCUMENT), listed)
    client.lpush(Queue.DOCUMENT, *listed)
    if waiting := dict(list(jobs.items())[16 * tenants :]):
        client.zadd(held_key(Queue.DOCUMENT), waiting)


@pytest.fixture
def many(valkey_url: str) -> Iterator[Client]:
    with redis.Redis.from_url(valkey_url, decode_responses=True) as client:
        client.flushdb()
        yield client
        client.flushdb()


@pytest.mark.parametrize("tenants", [1, MANY // 16], ids=["one tenant's", "many tenants'"])
def test_gauges_are_the_truth_with_many_queued(many: Client, valkey_url: str, tenants: int) -> None:
    _queue_many(many, tenants)
    many.hset(unacked_key(Queue.DOCUMENT), mapping={"one": "message", "two": "message"})
    values, milliseconds = _read(valkey_url, times=20)
    held = many.zcard(held_key(Queue.DOCUMENT))
    assert values[QUEUE_WAITING.count_field("document")] == many.llen(Queue.DOCUMENT) + held == MANY
    assert values[QUEUE_HELD.count_field("document")] == held
    assert values[QUEUE_IN_FLIGHT.count_field("document")] == 2
    assert values[QUEUE_WORKERS.count_field("document")] == 0
    assert OLD_MS <= values[QUEUE_OLDEST_AGE.count_field("document")] < OLD_MS + 60_000
    # 1 ms where nothing else runs; the bound is for machines that are busy.
    assert milliseconds < 20


def test_empty_queue_has_no_age(redis_client: Client, valkey_url: str) -> None:
    values, _ = _read(valkey_url)
    for queue in Queue:
        for gauge in (QUEUE_WAITING, QUEUE_HELD, QUEUE_IN_FLIGHT, QUEUE_WORKERS, QUEUE_OLDEST_AGE):
            assert values[gauge.count_field(queue)] == 0


def test_oldest_is_told_of_real_jobs(ledger: Ledger, valkey_url: str) -> None:
    submissions = [ledger.upload(name=f"{number}.pdf") for number in range(20)]
    ledger.client.hincrby(job_key(submissions[18].job_id), "queued_at", -50_000)
    age = QUEUE_OLDEST_AGE.count_field("document")
    assert 50_000 <= _read(valkey_url)[0][age] < 60_000
    ledger.start(submissions[0].job_id)
    ledger.start(submissions[1].job_id)
    ledger.start(submissions[2].job_id)
    assert 50_000 <= _read(valkey_url)[0][age] < 60_000, "it is behind messages that are younger"
    ledger.start(submissions[18].job_id)
    assert _read(valkey_url)[0][age] < 50_000


def test_job_that_is_gone_has_no_age(ledger: Ledger, valkey_url: str) -> None:
    """As after a backup that was restored without it."""
    ledger.client.delete(job_key(ledger.upload().job_id))
    assert _read(valkey_url)[0][QUEUE_OLDEST_AGE.count_field("document")] == 0


def test_living_workers_are_counted(ledger: Ledger, valkey_url: str) -> None:
    ledger.working.heartbeat(Queue.RAG, "rag@1")
    ledger.working.heartbeat(Queue.RAG, "rag@2")
    assert _read(valkey_url)[0][QUEUE_WORKERS.count_field("rag")] == 2


def test_redis_says_how_it_is(redis_client: Client, valkey_url: str) -> None:
    redis_client.config_set("maxmemory", "500mb")
    try:
        values, _ = _read(valkey_url)
    finally:
        redis_client.config_set("maxmemory", 0)
    info = redis_client.info("memory")
    assert values[REDIS_MEMORY.key] == pytest.approx(info["used_memory"], rel=0.2)
    assert values[REDIS_MEMORY_LIMIT.key] == 500 * 2**20
    assert values[REDIS_CLIENTS.key] >= 2
    assert values[REDIS_AOF_OK.key] == 1


def test_missing_append_only_file_is_told(tmp_path: Path) -> None:
    with valkey_server(tmp_path) as (url, _), redis.Redis.from_url(url) as client:
        client.config_set("appendonly", "no")
        assert _read(url)[0][REDIS_AOF_OK.key] == 0


def test_what_processes_measured_is_added_up(redis_client: Client, valkey_url: str) -> None:
    for seconds in (0.02, 0.03):
        measurements = Measurements()
        measurements.count(PAGES, amount=3)
        measurements.observe(HTTP_DURATION, seconds, "GET", "/v1/jobs/{job_id}")
        MeasurementWriter(redis_client, measurements=measurements).close()
    values, _ = _read(valkey_url)
    assert values["pages"] == 6
    assert values["http_request_duration|GET|/v1/jobs/{job_id}|sum"] == 50_000


def test_writer_adds_the_rest_at_its_end(redis_client: Client) -> None:
    measurements = Measurements()
    writer = MeasurementWriter(redis_client, measurements=measurements)
    measurements.count(PAGES)
    writer.close()
    assert redis_client.hgetall(metrics_key()) == {"pages": "1"}


def test_writer_keeps_what_it_measured_while_redis_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragline.stores.metrics.MEASUREMENT_INTERVAL", _Soon())
    measurements = Measurements()
    with valkey_server(tmp_path) as (url, server), redis.Redis.from_url(url, decode_responses=True) as client:
        writer = MeasurementWriter(client, measurements=measurements)
        measurements.count(PAGES)
        wait_until(lambda: _counted(client) == {"pages": "1"}, timeout_seconds=10)
        server.stop()
        measurements.count(PAGES)
        wait_until(lambda: measurements.batch() is not None, timeout_seconds=10)
        server.restart()
        wait_until(lambda: _counted(client) == {"pages": "2"}, timeout_seconds=20)
        writer.close()


def test_reading_is_over_in_time_when_nobody_answers(tmp_path: Path) -> None:
    with valkey_server(tmp_path) as (url, server):
        server.freeze()
        started = time.monotonic()
        try:
            with pytest.raises(TransientError):
                _read(url)
        finally:
            server.thaw()
        assert time.monotonic() - started < BROKER_TIMEOUT_SECONDS


def test_api_keeps_what_it_could_not_add() -> None:
    async def add() -> Mapping[str, int]:
        measurements = Measurements()
        measurements.count(PAGES)
        client = redis.asyncio.Redis.from_url(f"redis://127.0.0.1:{free_port()}/0")
        with pytest.raises(TransientError):
            await MetricsStore(client, measurements=measurements).add_measurements()
        await client.aclose()
        kept = measurements.batch()
        assert kept is not None
        return kept.amounts

    assert asyncio.run(add()) == {"pages": 1}


def test_a_batch_that_arrived_without_an_answer_counts_once(redis_client: Client, valkey_url: str) -> None:
    async def add_twice() -> None:
        measurements = Measurements()
        measurements.count(PAGES)
        async with redis.asyncio.Redis.from_url(valkey_url) as client:
            store = MetricsStore(client, measurements=measurements)
            sent = measurements.batch()
            await store.add_measurements()
            # As if no answer had come: nobody has confirmed it.
            measurements._unconfirmed = sent
            await store.add_measurements()

    asyncio.run(add_twice())
    assert redis_client.hgetall(metrics_key()) == {"pages": "1"}


class _Soon:
    """An interval that a test need not wait for."""

    def total_seconds(self) -> float:
        return 0.05


def _counted(client: Client) -> dict[str, str]:
    try:
        found: dict[str, str] = client.hgetall(metrics_key())
    except redis.ConnectionError:
        return {}
    return found
