"""What the API does by itself, again and again, beside its requests."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

__all__ = ["Repeating"]


class Repeating:
    """Calls something again and again, with a pause before each time, until it is stopped.

    Parameters
    ----------
    work
        Must handle its own errors: what it raises ends the repeating, and is raised where it is stopped.
    every
        The pause.
    """

    def __init__(self, work: Callable[[], Awaitable[None]], *, every: timedelta) -> None:
        self._work = work
        self._pause_seconds = every.total_seconds()
        self._stopped = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in a task of its own."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Break off what is under way, and return when it has ended."""
        # A cancellation that comes in the instant of a timeout is lost in it.
        self._stopped = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while not self._stopped:
            await asyncio.sleep(self._pause_seconds)
            await self._work()
