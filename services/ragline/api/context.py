"""What the API process holds: built at start-up, closed at the end."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import httpx2
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from ragline.api.access import AccessControl
from ragline.api.lost_claims import tell_lost_claim
from ragline.api.questions import QuestionSubmission
from ragline.api.streaming import OpenStreams
from ragline.api.submissions import DocumentSubmission
from ragline.common.calls import measure_calls
from ragline.common.config import ApiConfig
from ragline.common.constants import BROKER_TIMEOUT_SECONDS, MEASUREMENT_INTERVAL, SWEEP_INTERVAL
from ragline.common.errors import DependencyError, RagError, TransientError
from ragline.common.measurements import measure_call
from ragline.stores.api_keys import ApiKeys
from ragline.stores.grouped_scripts import GroupedScripts
from ragline.stores.ledger.accepting import AcceptLedger, Bounds
from ragline.stores.metrics import MetricsStore
from ragline.stores.objects import ObjectStore
from ragline.stores.rate_limits import RedisRateLimits
from ragline.stores.redis_connection import async_redis_client

__all__ = ["ApiContext"]

logger = structlog.get_logger(__name__)

_FAILURES_PER_LINE = 60
"""An outage is told at its beginning, when its reason changes, and once a minute."""


class ApiContext:
    """Clients of the API process, its sweeper and its measurements."""

    def __init__(self, config: ApiConfig) -> None:
        self.config = config
        self._redis = async_redis_client(
            config.redis_server,
            decode_responses=True,
            socket_timeout=BROKER_TIMEOUT_SECONDS - 0.5,
            socket_connect_timeout=1,
            health_check_interval=5,
            # A second try for an idle connection that turns out to be dead, none after a timeout: it has cost the wait.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        scripts = GroupedScripts(self._redis)
        self.ledger = AcceptLedger(
            self._redis,
            Bounds(
                max_backlog=config.max_backlog,
                max_backlog_per_tenant=config.max_backlog_per_tenant,
                tokens_per_day=config.tenant_tokens_per_day,
            ),
            scripts=scripts,
        )
        self.streams = OpenStreams(limit=config.max_streams, limit_per_tenant=config.max_streams_per_tenant)
        self.access = AccessControl(keys=ApiKeys(self._redis), limits=RedisRateLimits(scripts), config=config)
        self.objects = ObjectStore(config.object_store_url)
        self.questions = QuestionSubmission(ledger=self.ledger, config=config)
        self.documents = DocumentSubmission(ledger=self.ledger, objects=self.objects, config=config)
        self._http = httpx2.AsyncClient(timeout=BROKER_TIMEOUT_SECONDS)
        self.metrics = MetricsStore(self._redis)
        self._tasks: list[asyncio.Task[None]] = []
        self._stop_measuring: Callable[[], None] | None = None
        self._closing = False
        self._missing: frozenset[str] = frozenset()

    async def close(self) -> None:
        """Stop what runs by itself, add the last measurements and let go of everything."""
        # A cancellation that comes in the instant of a timeout is lost in it.
        self._closing = True
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        if self._stop_measuring is not None:
            self._stop_measuring()
        with suppress(RagError):
            await self.metrics.add_measurements()
        await self._http.aclose()
        await self._redis.aclose()

    def note_readiness(self, missing: Sequence[RagError]) -> None:
        """Log what is missing, once for each change.

        Parameters
        ----------
        missing
            Why this process cannot work now; nothing: it can.
        """
        names = frozenset(error.service if isinstance(error, DependencyError) else error.code for error in missing)
        if names == self._missing:
            return
        self._missing = names
        if not missing:
            logger.info("ready again")
            return
        details = [" ".join(filter(None, [error.detail, getattr(error, "reason", "")])) for error in missing]
        logger.warning("not ready", next="no requests until it is", missing=sorted(names), details=details)

    async def ping_chroma(self) -> None:
        """Return when the vector store is ready."""
        try:
            reply = await self._http.get(f"{self.config.chroma_url}/api/v2/healthcheck")
        except httpx2.HTTPError as error:
            raise TransientError("chroma", "healthcheck", type(error).__name__) from error
        if not reply.is_success:
            raise TransientError("chroma", "healthcheck", f"status {reply.status_code}")

    def start(self) -> None:
        """Begin to sweep and to measure."""
        self._stop_measuring = measure_calls(measure_call)
        self._tasks = [
            asyncio.create_task(self._sweep_for_ever(), name="sweeper"),
            asyncio.create_task(self._measure_for_ever(), name="measurements"),
        ]

    async def _measure_for_ever(self) -> None:
        while not self._closing:
            await asyncio.sleep(MEASUREMENT_INTERVAL.total_seconds())
            try:
                await self.metrics.add_measurements()
            except RagError as error:
                logger.debug("measurements not added", next="another try soon", **error.to_log())
            except Exception:
                logger.exception("measurements not added by a defect", next="another try soon")

    async def _sweep_for_ever(self) -> None:
        failures = 0
        told: dict[str, str] = {}
        while not self._closing:
            await asyncio.sleep(SWEEP_INTERVAL.total_seconds())
            try:
                await self._sweep()
            except RagError as error:
                reason = error.to_log()
                if reason != told or failures % _FAILURES_PER_LINE == 0:
                    logger.warning("sweep failed", next="another try every second", **reason)
                failures, told = failures + 1, reason
            except Exception:
                logger.exception("sweep failed by a defect", next="another try in a second")
            else:
                if failures:
                    logger.info("sweeping again", failures=failures)
                failures, told = 0, {}

    async def _sweep(self) -> None:
        found = await self.ledger.sweep()
        for claim in found.lost:
            tell_lost_claim(claim)
        if found.vanished:
            logger.warning("messages had vanished", next="their steps are queued again", messages=found.vanished)
        if found.due:
            logger.info("retries queued", jobs=found.due)
        await self.ledger.queue_cleaning()
