"""What the API process holds: built at start-up, closed at the end."""

from collections.abc import Callable
from contextlib import suppress

import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from ragline.api.access import AccessControl
from ragline.api.questions import QuestionSubmission
from ragline.api.readiness import ChromaProbe, Readiness
from ragline.api.repeating import Repeating
from ragline.api.streaming import OpenStreams
from ragline.api.submissions import DocumentSubmission
from ragline.api.sweeping import Sweeper
from ragline.common.calls import measure_calls
from ragline.common.config import ApiConfig
from ragline.common.constants import BROKER_TIMEOUT_SECONDS, MEASUREMENT_INTERVAL, SWEEP_INTERVAL
from ragline.common.errors import RagError
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


class ApiContext:
    """Clients of the API process, and what it does by itself."""

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
        self._chroma = ChromaProbe(config.chroma_url)
        self.readiness = Readiness(ledger=self.ledger, objects=self.objects, chroma=self._chroma)
        self.metrics = MetricsStore(self._redis)
        self._repeating = (
            Repeating(Sweeper(self.ledger).sweep, every=SWEEP_INTERVAL),
            Repeating(self._add_measurements, every=MEASUREMENT_INTERVAL),
        )
        self._stop_measuring: Callable[[], None] | None = None

    async def close(self) -> None:
        """Stop what runs by itself, add the last measurements and let go of everything."""
        for each in self._repeating:
            await each.stop()
        if self._stop_measuring is not None:
            self._stop_measuring()
        with suppress(RagError):
            await self.metrics.add_measurements()
        await self._chroma.close()
        await self._redis.aclose()

    def start(self) -> None:
        """Begin to sweep and to measure."""
        self._stop_measuring = measure_calls(measure_call)
        for each in self._repeating:
            each.start()

    async def _add_measurements(self) -> None:
        try:
            await self.metrics.add_measurements()
        except RagError as error:
            logger.debug("measurements not added", next="another try soon", **error.to_log())
        except Exception:
            logger.exception("measurements not added by a defect", next="another try soon")
