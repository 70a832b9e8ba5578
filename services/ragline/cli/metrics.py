"""The API's metrics, read from the Prometheus text format, and what two readings say together."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ragline.cli.failures import ApiFailure

__all__ = ["Histogram", "Metrics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How many values were at most so large.

    Attributes
    ----------
    buckets
        Upper bounds, rising to infinity, with the count of values up to each.
    """

    buckets: tuple[tuple[float, float], ...]

    @property
    def count(self) -> float:
        """How many values there are."""
        return self.buckets[-1][1] if self.buckets else 0.0

    def quantile(self, share: float) -> float | None:
        """The value that this share of all does not exceed, interpolated in its bucket; None without values."""
        wanted, lower, below = share * self.count, 0.0, 0.0
        if not self.count:
            return None
        for bound, count in self.buckets:
            if count >= wanted:
                # Beyond the last bound nothing is known: that bound is the least it can be.
                return lower if math.isinf(bound) else lower + (bound - lower) * (wanted - below) / (count - below)
            lower, below = bound, count
        return lower

    def since(self, earlier: "Histogram | None") -> "Histogram":
        """What came after an earlier reading; all of it when the counts began anew in between."""
        known = dict(earlier.buckets) if earlier else {}
        if earlier and earlier.count > self.count:
            known = {}
        return Histogram(buckets=tuple((bound, count - known.get(bound, 0.0)) for bound, count in self.buckets))


class Metrics:
    """One reading. A value that the API does not give is None."""

    def __init__(self, text: str) -> None:
        # Imported here: it loads an HTTP server as well, which few commands should wait for.
        from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415

        self._values: dict[str, dict[frozenset[tuple[str, str]], float]] = defaultdict(dict)
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    self._values[sample.name][frozenset(sample.labels.items())] = sample.value
        except ValueError as error:
            raise ApiFailure(f"The API's metrics are not understood: {error}") from error

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """All values of a metric by these of its labels, added up over the others."""
        values: dict[tuple[str, ...], float] = defaultdict(float)
        for key, value in self._values.get(name, {}).items():
            known = dict(key)
            values[tuple(known.get(label, "") for label in labels)] += value
        return dict(values)

    def histogram(self, name: str, **labels: str) -> Histogram | None:
        """A histogram, or None when there is none."""
        wanted = labels.items()
        found = [
            (float(known["le"]), value)
            for key, value in self._values.get(f"{name}_bucket", {}).items()
            if wanted <= (known := dict(key)).items()
        ]
        return Histogram(buckets=_added(found)) if found else None

    def value(self, name: str, **labels: str) -> float | None:
        """One value, added up over the labels that are not named."""
        wanted: Mapping[str, str] = labels
        found = [value for key, value in self._values.get(name, {}).items() if wanted.items() <= dict(key).items()]
        return sum(found) if found else None


def _added(found: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    totals: dict[float, float] = defaultdict(float)
    for bound, count in found:
        totals[bound] += count
    return tuple(sorted(totals.items()))
