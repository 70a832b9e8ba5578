"""Writes docs/metrics.md from the metrics that the code declares: ``python docs/metrics.py``."""

from pathlib import Path

from ragline.common.metric_types import Kind, Metric, Source
from ragline.common.metrics import METRICS

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).with_name("metrics.md")

_INTRODUCTION = """\
# Metrics

`GET /metrics` of the API answers in the format of Prometheus, or in OpenMetrics when the `Accept` header asks for it.
It wants no key and is not counted against a limit, and it is for your own network alone: a request that came through a
proxy (`X-Forwarded-For`, `Forwarded`) is told that there is no such address. Ask a pod, or `kubectl port-forward`.

All processes count into the ledger, and each API process shows the same values: take `max without (instance, pod)`,
never a sum over instances. Workers are not scraped, so they may come, go and die as they like. Why it is so:
[ADR 20](adr/0020-one-registry-for-all-processes.md).

When Redis is away the answer is still 200: it says `ragline_ledger_up 0` and leaves out what it cannot know.

The column *from* says how far a value can be trusted:

* **ledger**: counted in the same atomic step as the change that it counts. Exact, whatever dies.
* **process**: measured in each process and added to the ledger every five seconds and at its end. What a killed process
  measured last is missing.
* **read**: read from Redis in the moment that you ask.
* **own**: of the API process that answers, and of no other.

This page is written from the code by `make metrics-docs`.

| name | type | labels | from | meaning |
|---|---|---|---|---|
"""

_BUCKETS = """
## Buckets

Upper bounds of the histograms, in seconds:

"""


def page() -> str:
    """The page's text."""
    rows = "".join(map(_row, METRICS))
    buckets = "".join(
        f"* `{metric.name}`: {', '.join(f'{bound:g}' for bound in metric.bounds)}\n"
        for metric in METRICS
        if metric.kind is Kind.HISTOGRAM
    )
    return _INTRODUCTION + rows + _BUCKETS + buckets


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    source = Source(metric.source).value
    return f"| `{metric.name}` | {metric.kind} | {labels} | {source} | {metric.help} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
