"""The metrics of all processes, in one hash of the ledger: what a process measured is added, everybody's are read."""

import asyncio
import threading
from typing import Any

import redis
import redis.asyncio
import structlog

from ragline.common.constants import BROKER_TIMEOUT_SECONDS, MEASUREMENT_INTERVAL
from ragline.common.errors import RagError, TransientError
from ragline.common.measurements import MEASUREMENTS, Batch, Measurements
from ragline.common.metrics import (
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
from ragline.stores.ledger.scripts import script_source
from ragline.stores.redis_errors import redis_errors

__all__ = ["MeasurementWriter", "MetricsStore"]

logger = structlog.get_logger(__name__)

_QUEUE_GAUGES = (QUEUE_WAITING, QUEUE_HELD, QUEUE_IN_FLIGHT, QUEUE_WORKERS, QUEUE_OLDEST_AGE)
"""In the order in which the script answers them."""


class MetricsStore:
    """The metrics as the API reads and adds to them. Asynchronous; one instance a process.

    Both methods raise `TransientError` when Redis is away.
    """

    def __init__(self, client: "redis.asyncio.Redis", *, measurements: Measurements = MEASUREMENTS) -> None:
        # redis-py types every answer as one that may have to be awaited.
        self._redis: Any = client
        self._measurements = measurements
        self._measures = self._redis.register_script(script_source("measures"))
        self._add = self._redis.register_script(script_source("add_measurements"))

    async def add_measurements(self) -> None:
        """Add what this process measured since the last time, in one round trip."""
        batch = self._measurements.batch()
        if batch is not None:
            with redis_errors("add measurements"):
                await self._add(keys=[], args=_arguments(batch))
            self._measurements.confirm(batch)

    async def read(self) -> dict[str, int]:
        """All values at one moment, as whole numbers by field; one round trip of at most two seconds."""
        try:
            async with asyncio.timeout(BROKER_TIMEOUT_SECONDS - 0.2):
                with redis_errors("read metrics"):
                    counted, queues, info = await self._measures(keys=[], args=list(Queue))
        except TimeoutError as error:
            raise TransientError("redis", "read metrics", "TimeoutError") from error
        values = dict(zip(counted[::2], map(int, counted[1::2]), strict=True))
        for queue, row in zip(Queue, queues, strict=True):
            values |= {gauge.count_field(queue): value for gauge, value in zip(_QUEUE_GAUGES, row, strict=True)}
        return values | _redis_gauges(info)


class MeasurementWriter:
    """Adds what this process measures to the metrics, from a thread of its own, and a last time at its end.

    What cannot be added because Redis is away is kept for later.
    """

    def __init__(self, client: "redis.Redis", *, measurements: Measurements = MEASUREMENTS) -> None:
        self._add: Any = client.register_script(script_source("add_measurements"))
        self._measurements = measurements
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._write_for_ever, name="measurements", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and add the rest."""
        self._closed.set()
        self._thread.join(timeout=5)

    def write(self) -> None:
        """Add what this process measured since the last time; it is kept when that fails.

        Raises
        ------
        TransientError
            Redis is away.
        """
        batch = self._measurements.batch()
        if batch is not None:
            with redis_errors("add measurements"):
                self._add(keys=[], args=_arguments(batch))
            self._measurements.confirm(batch)

    def _write_for_ever(self) -> None:
        ending = False
        while not ending:
            ending = self._closed.wait(MEASUREMENT_INTERVAL.total_seconds())
            try:
                self.write()
            except RagError as error:
                logger.debug("measurements not added", next="lost" if ending else "another try soon", **error.to_log())
            except Exception:
                logger.exception("measurements not added by a defect", next="another try soon")


def _arguments(batch: Batch) -> list[str | int]:
    return [batch.id, *(part for amount in batch.amounts.items() for part in amount)]


def _redis_gauges(info: str) -> dict[str, int]:
    said = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    aof_ok = (
        said.get("aof_enabled") == "1"
        and said.get("aof_last_write_status") == "ok"
        and said.get("aof_last_bgrewrite_status") == "ok"
    )
    return {
        REDIS_MEMORY.key: int(said["used_memory"]),
        REDIS_MEMORY_LIMIT.key: int(said.get("maxmemory", "0")),
        REDIS_CLIENTS.key: int(said["connected_clients"]),
        REDIS_AOF_OK.key: int(aof_ok),
    }
