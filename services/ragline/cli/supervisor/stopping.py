"""How the parts end: in order, each with time to finish, and none survives."""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import groupby

from ragline.cli.supervisor.child import Child
from ragline.cli.supervisor.parts import Limits

__all__ = ["stop_children"]

_TICK_SECONDS = 0.02
"""Between looks at a part that is ending."""


def stop_children(children: Sequence[Child], *, limits: Limits, stop_requests: Callable[[], int]) -> None:
    """End all parts, one `StopOrder` after the other.

    Parameters
    ----------
    stop_requests
        How often the user has asked so far; one more request cuts the present wait short.
    """
    ordered = sorted(children, key=lambda child: child.part.stop_order)
    for _, group in groupby(ordered, key=lambda child: child.part.stop_order):
        _stop_group(list(group), limits, stop_requests)


def _stop_group(group: list[Child], limits: Limits, stop_requests: Callable[[], int]) -> None:
    ranks = 1 + max(len(child.part.stop_signals) for child in group)
    for rank in range(ranks):
        running = [child for child in group if child.pid]
        if not running:
            return
        for child in running:
            child.escalate(rank)
        _wait(running, limits.stop_hard if rank else limits.stop, stop_requests)


def _wait(running: list[Child], patience: timedelta, stop_requests: Callable[[], int]) -> None:
    deadline = time.monotonic() + patience.total_seconds()
    asked = stop_requests()
    while time.monotonic() < deadline and stop_requests() == asked:
        for child in running:
            child.bury()
        if not any(child.pid for child in running):
            return
        time.sleep(_TICK_SECONDS)
