"""Waiting for something to become true."""

import time
from collections.abc import Callable

__all__ = ["wait_until"]


def wait_until(predicate: Callable[[], bool], *, timeout_seconds: float, interval_seconds: float = 0.02) -> None:
    """Return as soon as the predicate holds.

    Raises
    ------
    AssertionError
        It did not hold within the timeout.
    """
    deadline = time.monotonic() + timeout_seconds
    while not predicate():
        if time.monotonic() > deadline:
            msg = f"still not true after {timeout_seconds} s"
            raise AssertionError(msg)
        time.sleep(interval_seconds)
