"""What the API does by itself goes on until it is stopped, whenever that is."""

import asyncio
from datetime import timedelta

import pytest

from ragline.api.repeating import Repeating


def test_it_goes_on_until_it_is_stopped() -> None:
    async def run() -> int:
        times = 0
        thrice = asyncio.Event()

        async def work() -> None:
            nonlocal times
            times += 1
            if times == 3:
                thrice.set()

        repeating = Repeating(work, every=timedelta())
        repeating.start()
        await asyncio.wait_for(thrice.wait(), timeout=10)
        await repeating.stop()
        stopped_at = times
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return times - stopped_at

    assert asyncio.run(run()) == 0


def test_work_that_swallows_its_cancellation_ends_all_the_same() -> None:
    async def run() -> None:
        begun = asyncio.Event()

        async def work() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return

        repeating = Repeating(work, every=timedelta())
        repeating.start()
        await begun.wait()
        await asyncio.wait_for(repeating.stop(), timeout=10)

    asyncio.run(run())


def test_what_work_raises_is_raised_where_it_is_stopped() -> None:
    async def run() -> None:
        begun = asyncio.Event()

        async def work() -> None:
            begun.set()
            raise ZeroDivisionError

        repeating = Repeating(work, every=timedelta())
        repeating.start()
        await begun.wait()
        with pytest.raises(ZeroDivisionError):
            await repeating.stop()

    asyncio.run(run())


def test_what_was_never_begun_can_be_stopped() -> None:
    async def work() -> None:
        raise AssertionError

    asyncio.run(Repeating(work, every=timedelta()).stop())
