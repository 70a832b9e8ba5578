"""What `GET /metrics` of a running service says, as numbers to compare."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from ragline.common.metric_types import Kind, Metric

__all__ = ["Scrape", "scrape"]

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """All samples of one moment, by the name of the sample and its labels."""

    samples: Mapping[tuple[str, Labels], float]

    def by(self, metric: Metric, *labels: str) -> dict[tuple[str, ...], float]:
        """Sums by the values of these labels, or of all of the metric's; what is 0 is left out."""
        sums: Counter[tuple[str, ...]] = Counter()
        for (name, given), value in self.samples.items():
            if name == _counted(metric):
                sums[tuple(dict(given)[label] for label in labels or metric.labels)] += value  # type: ignore[assignment]
        return {values: value for values, value in sums.items() if value}

    def total(self, metric: Metric, **labels: str) -> float:
        """The sum of all series with these labels: of a histogram, how much went into it."""
        wanted = labels.items()
        return sum(
            value for (name, given), value in self.samples.items() if name == _counted(metric) and wanted <= given
        )

    def has(self, metric: Metric) -> bool:
        """Whether there is any series of it, with all of its labels."""
        names = set(metric.labels)
        return any(name == _counted(metric) and {label for label, _ in given} == names for name, given in self.samples)


def scrape(client: httpx2.Client) -> Scrape:
    """What the service says now, in the words of Prometheus."""
    reply = client.get("/metrics")
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(reply.text)
    samples = [sample for family in families for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples), "a series is there twice"
    return Scrape(samples=found)


def _counted(metric: Metric) -> str:
    return f"{metric.name}_count" if metric.kind is Kind.HISTOGRAM else metric.name
