"""Moving windows in a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis
import redis.asyncio
from typing_extensions import override

from ragline.common.errors import TransientError
from ragline.common.redis_address import RedisAddress
from ragline.stores.grouped_scripts import GroupedScripts
from ragline.stores.rate_limits import RateLimits, RedisRateLimits
from ragline.stores.redis_connection import async_redis_client
from tests.support.access import Clock
from tests.support.rate_limits_contract import RateLimitsContract
from tests.support.servers import free_port


class TestRedisRateLimits(RateLimitsContract):
    @pytest.fixture(autouse=True)
    def _empty(self, valkey_url: str, redis_client: "redis.Redis") -> None:
        self.url = valkey_url
        self.redis: Any = redis_client

    @override
    @asynccontextmanager
    async def store(self, clock: Clock) -> AsyncIterator[RateLimits]:
        async with _client(self.url) as client:
            yield RedisRateLimits(GroupedScripts(client), clock=clock)

    def test_a_request_is_one_round_trip(self) -> None:
        async def story(limits: RateLimits, _clock: Clock) -> None:
            await limits.hit("general", "warm", 9)
            before = self.redis.info("stats")["total_reads_processed"]
            for _ in range(20):
                await limits.hit("general", "x", 60)
            # The last one is that of INFO itself.
            assert self.redis.info("stats")["total_reads_processed"] - before == 20 + 1

        self.tell(story)

    def test_no_count_waits_for_the_disk(self) -> None:
        """The ledger's Redis answers a write once it is on the disk."""
        if not self.redis.info("persistence")["aof_enabled"]:
            pytest.skip("this Redis keeps nothing on a disk")

        async def story(limits: RateLimits, _clock: Clock) -> None:
            def written() -> int:
                return int(self.redis.info("persistence")["aof_current_size"])

            self.redis.set("a write", "that counts")
            before = written()
            for _ in range(20):
                await limits.hit("general", "x", 60)
            assert written() == before
            self.redis.set("a write", "that counts again")
            assert written() > before

        self.tell(story)

    def test_a_server_that_forgot_the_scripts_is_told_them(self) -> None:
        async def story(limits: RateLimits, _clock: Clock) -> None:
            await limits.hit("general", "x", 9)
            self.redis.script_flush()
            assert (await limits.hit("general", "x", 9)).remaining == 7
            self.redis.script_flush()
            assert (await limits.look("general", "x", 9)).remaining == 7

        self.tell(story)

    def test_a_look_at_a_new_server_does_not_come_before_the_next_count(self) -> None:
        async def story(limits: RateLimits, _clock: Clock) -> None:
            self.redis.script_flush()
            await limits.look("general", "x", 9)
            assert (await limits.hit("general", "x", 9)).remaining == 8

        self.tell(story)

    def test_counts_are_forgotten_after_their_window(self) -> None:
        async def story(limits: RateLimits, _clock: Clock) -> None:
            await limits.hit("general", "x", 9)
            await limits.look("general", "never", 9)

        self.tell(story)
        assert [self.redis.ttl(key) for key in self.redis.scan_iter()] == [60]

    def test_many_at_once_are_no_more_than_the_limit(self) -> None:
        async def story(limits: RateLimits, _clock: Clock) -> None:
            usages = await asyncio.gather(*(limits.hit("general", "x", 10) for _ in range(50)))
            assert sum(usage.allowed for usage in usages) == 10

        self.tell(story)


@pytest.mark.parametrize("call", [RedisRateLimits.hit, RedisRateLimits.look])
def test_a_redis_that_is_away_is_a_transient_error(call: Callable[..., Awaitable[object]]) -> None:
    async def story() -> None:
        async with _client(f"redis://127.0.0.1:{free_port()}/0") as client:
            with pytest.raises(TransientError):
                await call(RedisRateLimits(GroupedScripts(client)), "general", "x", 1)

    asyncio.run(story())


def _client(url: str) -> "redis.asyncio.Redis":
    return async_redis_client(RedisAddress(url=url), decode_responses=True)
