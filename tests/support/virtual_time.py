"""Time that passes as soon as nobody has anything else to do, so that a busy machine cannot make a test late."""

import asyncio
import selectors

from typing_extensions import override

__all__ = ["VirtualTimeLoop"]

_Ready = list[tuple[selectors.SelectorKey, int]]


class _Selector(selectors.SelectSelector):
    """Instead of waiting it puts the clock forward."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    @override
    def select(self, timeout: float | None = None) -> _Ready:
        if timeout is not None:
            self.now += max(0.0, timeout)
            timeout = 0
        return super().select(timeout)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """For `asyncio.Runner(loop_factory=...)`, around code whose only waits are the loop's own timers."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    @override
    def time(self) -> float:
        """Seconds since the loop began."""
        return self._virtual.now
