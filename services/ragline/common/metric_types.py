"""What a metric is, and how the hash in Redis that all processes count into names its parts."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["INFINITE", "SEPARATOR", "SUM", "Kind", "Metric", "Source"]

SEPARATOR = "|"
"""Between the parts of a field's name; none of our own label values holds one."""

INFINITE = "inf"
"""The part of a field's name for what is above all bounds."""

SUM = "sum"
"""The part of a field's name for the sum of all observations."""


class Kind(StrEnum):
    """What a metric's values mean: a count that only goes up, a state, or counts by size."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Source(StrEnum):
    """Where a metric's values come from."""

    LEDGER = "ledger"
    """Counted by the ledger's scripts in the same atomic step as the change: exact, whatever dies."""

    PROCESS = "process"
    """Measured in each process and added up every few seconds: what a killed one measured last is missing."""

    READ = "read"
    """Read from Redis in the moment that somebody asks."""

    OWN = "own"
    """Of the API process that answers, and of no other."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Metric:
    """One metric.

    Attributes
    ----------
    unit
        Of its values; empty for plain numbers.
    bounds
        Upper bounds of a histogram's buckets, in its unit; the last one, infinity, is not among them.
    per_unit
        Redis adds whole numbers only: this many of them are one unit.
    known
        Values of the labels that are shown, as 0, before anything was counted: an increase from nothing is none.
    """

    name: str
    kind: Kind
    source: Source
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    bounds: tuple[float, ...] = ()
    per_unit: int = 1
    known: tuple[tuple[str, ...], ...] = ()

    @property
    def key(self) -> str:
        """The short name that its fields in Redis begin with."""
        name = self.name.removeprefix("ragline_").removesuffix("_total")
        return name.removesuffix(f"_{self.unit}") if self.unit else name

    @property
    def limits(self) -> tuple[int, ...]:
        """The bounds of the buckets in the whole numbers that Redis holds."""
        return tuple(round(bound * self.per_unit) for bound in self.bounds)

    def count_field(self, *values: str) -> str:
        """The field that holds a counter."""
        return SEPARATOR.join([self.key, *map(_safe, values)])

    def bucket_fields(self, *values: str) -> tuple[str, ...]:
        """The fields that hold a histogram: one for each of its limits, one for what is above them, one for the sum."""
        return tuple(self.count_field(*values, str(part)) for part in (*self.limits, INFINITE, SUM))


def _safe(value: str) -> str:
    return value.replace(SEPARATOR, "_")
