"""What every `RateLimits` does; subclasses give it a store and a clock."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from ragline.stores.rate_limits import RateLimits, Usage
from tests.support.access import Clock

__all__ = ["RateLimitsContract"]

Story = Callable[[RateLimits, Clock], Awaitable[None]]


class RateLimitsContract(ABC):
    @abstractmethod
    def store(self, clock: Clock) -> AbstractAsyncContextManager[RateLimits]:
        """An empty one."""

    def tell(self, story: Story) -> None:
        async def told() -> None:
            clock = Clock()
            async with self.store(clock) as limits:
                await story(limits, clock)

        asyncio.run(told())

    def test_the_limit_is_exact_and_says_when_the_next_one_passes(self) -> None:
        async def story(limits: RateLimits, clock: Clock) -> None:
            for number in range(3):
                usage = await limits.hit("general", "key_1", 3)
                assert usage == Usage(
                    allowed=True, limit=3, remaining=2 - number, frees_after=timedelta(seconds=60 - 10 * number)
                )
                clock.now += 10
            refused = await limits.hit("general", "key_1", 3)
            assert refused == Usage(allowed=False, limit=3, remaining=0, frees_after=timedelta(seconds=30))

            clock.now += 29.9
            assert not (await limits.hit("general", "key_1", 3)).allowed
            clock.now += 0.2
            freed = await limits.hit("general", "key_1", 3)
            assert (freed.allowed, freed.remaining) == (True, 0)
            assert not (await limits.hit("general", "key_1", 3)).allowed

        self.tell(story)

    def test_a_refused_request_is_not_counted(self) -> None:
        async def story(limits: RateLimits, clock: Clock) -> None:
            await limits.hit("rag", "key_1", 1)
            for _ in range(50):
                clock.now += 1
                assert not (await limits.hit("rag", "key_1", 1)).allowed
            clock.now += 10.1
            assert (await limits.hit("rag", "key_1", 1)).allowed

        self.tell(story)

    def test_callers_and_policies_are_apart(self) -> None:
        async def story(limits: RateLimits, _clock: Clock) -> None:
            for caller in ("key_1", "key_2", "192.0.2.1", "2001:db8::/64"):
                for policy in ("general", "rag"):
                    assert (await limits.hit(policy, caller, 1)).allowed
            assert not (await limits.hit("rag", "key_2", 1)).allowed

        self.tell(story)

    def test_looking_counts_nothing(self) -> None:
        async def story(limits: RateLimits, _clock: Clock) -> None:
            assert [(await limits.look("general", "x", 2)).remaining for _ in range(3)] == [2, 2, 2]
            await limits.hit("general", "x", 2)
            assert (await limits.look("general", "x", 2)).remaining == 1
            await limits.hit("general", "x", 2)
            seen = await limits.look("general", "x", 2)
            assert (seen.allowed, seen.remaining) == (False, 0)

        self.tell(story)

    def test_another_limit_takes_effect_at_once(self) -> None:
        async def story(limits: RateLimits, _clock: Clock) -> None:
            for _ in range(5):
                await limits.hit("general", "x", 5)
            assert not (await limits.hit("general", "x", 2)).allowed
            assert (await limits.hit("general", "x", 8)).remaining == 2

        self.tell(story)
