from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from typing_extensions import override

from ragline.stores.rate_limits import RateLimits
from tests.support.access import Clock, MemoryRateLimits
from tests.support.rate_limits_contract import RateLimitsContract


class TestMemoryRateLimits(RateLimitsContract):
    @override
    @asynccontextmanager
    async def store(self, clock: Clock) -> AsyncIterator[RateLimits]:
        yield MemoryRateLimits(clock)
