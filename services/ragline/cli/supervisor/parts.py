"""What the supervisor is given: the parts of a service as plain data."""

import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum

__all__ = ["Limits", "Part", "StopOrder"]


class StopOrder(IntEnum):
    """Which parts end first. Each part that is left still takes what the others have to record, or spans to show."""

    WORK = 0
    VECTORS = 1
    BROKER = 2
    OBSERVER = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One child process.

    Attributes
    ----------
    ready
        Whether it does its work; asked again and again, so it has to answer quickly and never raise.
    env
        Added to the supervisor's own environment.
    needs
        Names of the parts that must be ready before this one is started.
    stop_signals
        Sent one after the other, each with its time to act; SIGKILL follows by itself.
    shown
        Lines that match are shown on the terminal; the log file gets them all.
    """

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    stop_order: StopOrder = StopOrder.WORK
    stop_signals: tuple[signal.Signals, ...] = (signal.SIGTERM,)
    shown: re.Pattern[str] = re.compile("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How patient the supervisor is.

    Attributes
    ----------
    start
        Until every part has to be ready. The very first start on a cold disk was seen to take 20 s.
    stop
        For a part to act on its first stop signal: a worker finishes its step, whose budget is 20 s.
    stop_hard
        For a part to act on each later signal.
    quick_death
        A part that lived shorter than this did not really work.
    max_quick_deaths
        That many in a row, and the supervisor gives up.
    backoff
        Pause before the first restart; doubles with each quick death.
    """

    start: timedelta = timedelta(seconds=90)
    stop: timedelta = timedelta(seconds=25)
    stop_hard: timedelta = timedelta(seconds=5)
    quick_death: timedelta = timedelta(seconds=10)
    max_quick_deaths: int = 5
    backoff: timedelta = timedelta(milliseconds=500)
