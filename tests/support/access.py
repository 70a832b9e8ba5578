"""Who may call the API, without a Redis."""

from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from ragline.api.access import AccessControl
from ragline.common.config import ApiConfig
from ragline.stores.api_keys import StoredKey
from ragline.stores.rate_limits import WINDOW, Usage

__all__ = ["Clock", "KeyTable", "MemoryRateLimits", "access_control"]


class Clock:
    """Unix time that goes on when told."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class KeyTable:
    """Keys by token; counts the look-ups."""

    def __init__(self, **keys: StoredKey) -> None:
        self.keys = keys
        self.asked: list[str] = []

    async def find(self, token: str) -> StoredKey | None:
        self.asked.append(token)
        return self.keys.get(token)


class MemoryRateLimits:
    """A `RateLimits` that lives as long as its object."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sent: dict[tuple[str, str], list[float]] = defaultdict(list)

    async def hit(self, policy: str, caller: str, limit: int) -> Usage:
        sent = self._sent[policy, caller]
        allowed = (await self.look(policy, caller, limit)).allowed
        if allowed:
            sent.append(self._clock())
        return self._usage(sent, limit, allowed=allowed)

    async def look(self, policy: str, caller: str, limit: int) -> Usage:
        begin = self._clock() - WINDOW.total_seconds()
        sent = self._sent[policy, caller]
        sent[:] = [time for time in sent if time >= begin]
        return self._usage(sent, limit, allowed=len(sent) < limit)

    def _usage(self, sent: list[float], limit: int, *, allowed: bool) -> Usage:
        now = self._clock()
        frees_after = timedelta(seconds=(sent[0] if sent else now) + WINDOW.total_seconds() - now)
        return Usage(allowed=allowed, limit=limit, remaining=max(0, limit - len(sent)), frees_after=frees_after)


def access_control(
    *, keys: KeyTable | None = None, clock: Callable[[], float] | None = None, **settings: object
) -> AccessControl:
    """Decides by these settings; without limits, unless some are among them."""
    limits = {"rate_limit_general_per_minute": 0, "rate_limit_rag_per_minute": 0}
    config = ApiConfig.model_validate({**limits, **settings})
    now = clock or Clock()
    table: Any = keys or KeyTable()
    return AccessControl(keys=table, limits=MemoryRateLimits(now), config=config, clock=now)
