"""What this process has measured and not yet added to what all others have."""

import os
import secrets
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

from ragline.common.metric_types import Metric
from ragline.common.metrics import DEPENDENCY_CALLS, DEPENDENCY_DURATION
from ragline.common.span_names import Dependency

__all__ = ["MEASUREMENTS", "Batch", "Measurements", "measure_call"]

_MAX_FIELDS = 20_000
"""Series that are kept while Redis is away; ten times as many as a busy process has. What is new beyond is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is added at one go. Its id tells it from all others, so that it is added once, however often it is sent."""

    id: str
    amounts: Mapping[str, int]


class Measurements:
    """Counts and observations since they were taken last. Threads share it; nothing in it waits for a server."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._amounts: dict[str, int] = {}
        self._unconfirmed: Batch | None = None

    def batch(self) -> Batch | None:
        """The batch to add next: the last one until it is confirmed, then what has come since."""
        with self._lock:
            if self._unconfirmed is None and self._amounts:
                self._unconfirmed = Batch(id=secrets.token_hex(8), amounts=self._amounts)
                self._amounts = {}
            return self._unconfirmed

    def confirm(self, batch: Batch) -> None:
        """The batch was added; another writer of this process may have confirmed it already, and taken the next."""
        with self._lock:
            if self._unconfirmed is batch:
                self._unconfirmed = None

    def count(self, metric: Metric, *values: str, amount: float = 1) -> None:
        """Let a counter go up.

        Parameters
        ----------
        values
            Of its labels, in their order.
        amount
            In its unit.
        """
        field, whole = _field(metric, values), round(amount * metric.per_unit)
        with self._lock:
            self._add(field, whole)

    def forget(self) -> None:
        """Begin anew: a process that was forked has measured nothing yet, whatever its parent was about to do."""
        self._lock = Lock()
        self._amounts = {}
        self._unconfirmed = None

    def observe(self, metric: Metric, amount: float, *values: str) -> None:
        """Add one observation to a histogram.

        Parameters
        ----------
        amount
            In its unit.
        values
            Of its labels, in their order.
        """
        limits, fields = _fields(metric, values)
        whole = round(amount * metric.per_unit)
        with self._lock:
            self._add(fields[bisect_left(limits, whole)], 1)
            self._add(fields[-1], whole)

    def _add(self, field: str, amount: int) -> None:
        known = self._amounts.get(field)
        if known is not None:
            self._amounts[field] = known + amount
        elif len(self._amounts) < _MAX_FIELDS:
            self._amounts[field] = amount


@lru_cache(maxsize=8_192)
def _field(metric: Metric, values: tuple[str, ...]) -> str:
    return metric.count_field(*values)


@lru_cache(maxsize=8_192)
def _fields(metric: Metric, values: tuple[str, ...]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    return metric.limits, metric.bucket_fields(*values)


MEASUREMENTS = Measurements()
"""Of this process."""


def measure_call(dependency: Dependency, operation: str, outcome: str, seconds: float) -> None:
    """A `CallSink` that measures for everybody."""
    MEASUREMENTS.count(DEPENDENCY_CALLS, dependency, operation, outcome)
    MEASUREMENTS.observe(DEPENDENCY_DURATION, seconds, dependency, operation)


os.register_at_fork(after_in_child=MEASUREMENTS.forget)
