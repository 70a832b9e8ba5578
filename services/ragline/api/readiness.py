"""Whether this process can work: asked of all parts behind it by each probe, told to the log when it changes."""

import asyncio
from collections.abc import Sequence

import httpx2
import structlog

from ragline.common.constants import BROKER_TIMEOUT_SECONDS
from ragline.common.errors import DependencyError, RagError, TransientError
from ragline.stores.ledger.reading import ReadLedger
from ragline.stores.objects import ObjectStore

__all__ = ["ChromaProbe", "Readiness"]

logger = structlog.get_logger(__name__)


class ChromaProbe:
    """Asks Chroma's server whether it is there; the API does nothing else with it."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/api/v2/healthcheck"
        self._http = httpx2.AsyncClient(timeout=BROKER_TIMEOUT_SECONDS)

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def ping(self) -> None:
        """Return when the vector store is ready, or raise `TransientError`."""
        try:
            reply = await self._http.get(self._url)
        except httpx2.HTTPError as error:
            raise TransientError("chroma", "healthcheck", type(error).__name__) from error
        if not reply.is_success:
            raise TransientError("chroma", "healthcheck", f"status {reply.status_code}")


class Readiness:
    """Asks all parts at once."""

    def __init__(self, *, ledger: ReadLedger, objects: ObjectStore, chroma: ChromaProbe) -> None:
        self._parts = (ledger, objects, chroma)
        self._missing: frozenset[str] = frozenset()

    async def missing(self) -> list[RagError]:
        """Why this process cannot work now; nothing: it can. A change is logged."""
        outcomes = await asyncio.gather(*(part.ping() for part in self._parts), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, RagError):
                raise outcome
        missing = [outcome for outcome in outcomes if isinstance(outcome, RagError)]
        self._note(missing)
        return missing

    def _note(self, missing: Sequence[RagError]) -> None:
        names = frozenset(error.service if isinstance(error, DependencyError) else error.code for error in missing)
        if names == self._missing:
            return
        self._missing = names
        if not missing:
            logger.info("ready again")
            return
        details = [" ".join(filter(None, [error.detail, getattr(error, "reason", "")])) for error in missing]
        logger.warning("not ready", next="no requests until it is", missing=sorted(names), details=details)
