"""What one worker process holds: built after the fork, closed at its end."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from ragline.common.config import WorkerConfig
from ragline.stores.document_files import DocumentFiles
from ragline.stores.ledger.working import WorkLedger
from ragline.stores.metrics import MeasurementWriter
from ragline.stores.objects import ObjectStore
from ragline.stores.redis_connection import redis_client
from ragline.worker.leases import LeaseKeeper, StopSignal

__all__ = ["ProcessContext"]

PartT = TypeVar("PartT")

_REDIS_TIMEOUT_SECONDS = 5.0
"""Longer than the API's bound: a worker has time, and a script may wait for an fsync."""


class ProcessContext:
    """Clients of one process; threads of a pool share them. Nothing in it waits for a server when it is built.

    Parameters
    ----------
    worker
        Name of this worker in records and logs.
    stopping
        Set when the worker is told to stop.
    ready_at
        Says when the worker was ready for work, seconds since 1970; 0 before.
    """

    def __init__(
        self,
        config: WorkerConfig,
        *,
        worker: str,
        stopping: StopSignal,
        ready_at: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.config = config
        self.worker = worker
        self.stopping = stopping
        self.ready_at = ready_at
        self._redis = redis_client(
            config.redis_server,
            decode_responses=True,
            socket_timeout=_REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=2,
            health_check_interval=5,
            # The ledger decides about retries; a second try at once replaces a connection that died while idle. None
            # after a timeout: Redis may do yet what it was asked, and a step claimed twice is claimed for nobody.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        self.ledger = WorkLedger(self._redis)
        self.files = DocumentFiles(ObjectStore(config.object_store_url))
        self.keeper = LeaseKeeper(self.ledger, stopping)
        self._measurements = MeasurementWriter(self._redis)
        self._parts: dict[Callable[[ProcessContext], Any], Any] = {}
        self._lock = threading.RLock()

    def close(self) -> None:
        """Let go of everything."""
        self.keeper.close()
        self._measurements.close()
        self._redis.close()

    def part(self, build: "Callable[[ProcessContext], PartT]") -> PartT:
        """What `build` makes of this context; made once a process."""
        with self._lock:
            if build not in self._parts:
                self._parts[build] = build(self)
            part: PartT = self._parts[build]
            return part
