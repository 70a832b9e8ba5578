"""What happens to the parts meanwhile, at random: they are killed, told to stop, frozen, or lose their pool."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from ragline.common.constants import FENCE, LEASE
from ragline.common.queues import Queue
from tests.support.parsers import children_of
from tests.support.servers import Process

__all__ = ["Faults"]

_PAUSE_SECONDS = (0.2, 4)
_FROZEN_SECONDS = (0.5, 4, 15, LEASE.total_seconds() + 3, FENCE.total_seconds() + 3)
"""Among them longer than a claim holds, and longer than a fence does: whoever wakes then is a zombie."""


class Faults:
    """One fault after another until told to stop; every part runs again at the end, and may still be starting.

    Parameters
    ----------
    parts
        By name. Workers are named by their queue: they may also be told to stop, and the one with a pool lose that.
    """

    def __init__(self, parts: Mapping[str, Process], dice: random.Random) -> None:
        self._parts = parts
        self._dice = dice
        self._stopped = threading.Event()
        self.done: list[str] = []

    def run(self) -> None:
        """Strike, until the last fault after `stop` is over."""
        while not self._stopped.wait(self._dice.uniform(*_PAUSE_SECONDS)):
            self._strike()

    def stop(self) -> None:
        """Begin no more of them."""
        self._stopped.set()

    def _strike(self) -> None:
        name = self._dice.choice(list(self._parts))
        kinds: list[Callable[[Process], str]] = [self._kill, self._kill, self._freeze]
        if name in {*Queue}:
            kinds.append(self._end)
        if name == Queue.DOCUMENT:
            kinds.append(self._kill_pool)
        self.done.append(f"{time.strftime('%X')} {name}: {self._dice.choice(kinds)(self._parts[name])}")

    def _kill(self, part: Process) -> str:
        part.kill()
        return f"killed for {self._away(part):.1f} s"

    def _end(self, part: Process) -> str:
        status = part.stop()
        return f"ended with {status} for {self._away(part):.1f} s"

    def _away(self, part: Process) -> float:
        seconds = self._dice.choice((0, 0, 2, 8))
        time.sleep(seconds)
        part.restart()
        return seconds

    def _freeze(self, part: Process) -> str:
        seconds = self._dice.choice(_FROZEN_SECONDS)
        part.freeze()
        self._stopped.wait(seconds)
        part.thaw()
        return f"frozen for {seconds:.1f} s"

    def _kill_pool(self, part: Process) -> str:
        children = children_of(part.popen.pid)
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return f"lost {len(children)} children"
