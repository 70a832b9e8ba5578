"""The sweeper: finds work that nobody would come back to, and says what it found."""

import structlog

from ragline.api.lost_claims import tell_lost_claim
from ragline.common.errors import RagError
from ragline.stores.ledger.accepting import AcceptLedger

__all__ = ["Sweeper"]

logger = structlog.get_logger(__name__)

_FAILURES_PER_LINE = 60
"""An outage is told at its beginning, when its reason changes, and every one to three minutes: a
failure takes a second's pause, and two more when Redis is silent."""


class Sweeper:
    """Sweeps the ledger; every API process has one, and the ledger lets one of them work at a time."""

    def __init__(self, ledger: AcceptLedger) -> None:
        self._ledger = ledger
        self._failures = 0
        self._told: dict[str, str] = {}

    async def sweep(self) -> None:
        """Sweep once. What goes wrong is logged: the next time may go well."""
        try:
            await self._sweep()
        except RagError as error:
            self._tell(error)
        except Exception:
            logger.exception("sweep failed by a defect", next="another try in a second")
        else:
            if self._failures:
                logger.info("sweeping again", failures=self._failures)
            self._failures, self._told = 0, {}

    async def _sweep(self) -> None:
        found = await self._ledger.sweep()
        for claim in found.lost:
            tell_lost_claim(claim)
        if found.vanished:
            logger.warning("messages had vanished", next="their steps are queued again", messages=found.vanished)
        if found.due:
            logger.info("retries queued", jobs=found.due)
        await self._ledger.queue_cleaning(found.littered)

    def _tell(self, error: RagError) -> None:
        reason = error.to_log()
        if reason != self._told or self._failures % _FAILURES_PER_LINE == 0:
            logger.warning("sweep failed", next="another try every second", **reason)
        self._failures, self._told = self._failures + 1, reason
