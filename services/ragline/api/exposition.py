"""The metrics in the words of Prometheus: families of samples, made from the whole numbers that Redis holds."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from typing_extensions import override

from ragline.common.metric_types import INFINITE, SEPARATOR, SUM, Kind, Metric
from ragline.common.metrics import LEDGER_UP, METRICS

__all__ = ["exposition"]

_Series = dict[tuple[str, ...], dict[str, int]]
"""By the values of the labels: the parts of each, of which only a histogram has more than one."""


def exposition(values: Mapping[str, int], accept: str) -> tuple[bytes, str]:
    """All metrics as text.

    Parameters
    ----------
    values
        Whole numbers by field, as `common.metric_types` names them.
    accept
        Of the request: Prometheus's own format, or OpenMetrics.

    Returns
    -------
    tuple
        The text and its media type.
    """
    encode, media_type = choose_encoder(accept)
    return encode(_Shown(values)), media_type


class _Shown(Collector):
    def __init__(self, values: Mapping[str, int]) -> None:
        self._series = _by_metric(values)

    @override
    def collect(self) -> Iterator[Family]:
        for metric in METRICS:
            series = self._series[metric.key]
            if series:
                yield _family(metric, dict(sorted(series.items())))


def _by_metric(values: Mapping[str, int]) -> dict[str, _Series]:
    """What is known of each metric; fields of metrics that another release has are passed over."""
    metrics = {metric.key: metric for metric in METRICS}
    # Without the ledger's own values nothing can be said: a 0 would look like a restart.
    shown = bool(values.get(LEDGER_UP.key))
    found: dict[str, _Series] = {
        key: {labels: {} for labels in metric.known if shown} for key, metric in metrics.items()
    }
    for field, value in values.items():
        key, *labels = field.split(SEPARATOR)
        metric = metrics.get(key)
        if metric is None:
            continue
        part = labels.pop() if metric.kind is Kind.HISTOGRAM and labels else ""
        if len(labels) == len(metric.labels):
            found[key].setdefault(tuple(labels), {})[part] = value
    return found


def _family(metric: Metric, series: _Series) -> Family:
    match metric.kind:
        case Kind.COUNTER:
            counter = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, parts in series.items():
                counter.add_metric(labels, parts.get("", 0) / metric.per_unit)
            return counter
        case Kind.GAUGE:
            gauge = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, parts in series.items():
                gauge.add_metric(labels, parts.get("", 0) / metric.per_unit)
            return gauge
        case Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, parts in series.items():
                histogram.add_metric(labels, _buckets(metric, parts), parts.get(SUM, 0) / metric.per_unit)
            return histogram


def _buckets(metric: Metric, parts: Mapping[str, int]) -> Sequence[tuple[str, float]]:
    """Upper bounds with how much is not above them. A bound of another release counts for the next higher one."""
    counts = dict.fromkeys((*metric.limits, float(INFINITE)), 0)
    for part, count in parts.items():
        if part != SUM:
            counts[next(limit for limit in counts if float(part) <= limit)] += count
    names = [str(float(bound)) for bound in metric.bounds] + ["+Inf"]
    return list(zip(names, accumulate(counts.values()), strict=True))
