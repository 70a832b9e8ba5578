"""The queries that panels of several dashboards ask."""

from charts.monitoring.objectives import EVENTS, MISSED
from charts.monitoring.panels import WINDOW
from charts.monitoring.promql import quantile, rate, shared, total

__all__ = ["CALLS", "DAY", "JOBS", "SCALED", "STEPS", "added", "gauge", "kept", "quantiles", "rates"]

STEPS = "ragline_step_duration_seconds"
JOBS = "ragline_job_duration_seconds"
CALLS = "ragline_dependency_duration_seconds"
SCALED = '{scaledObject=~".+-worker-.+"}'
DAY = "24h"


def kept(slo: str) -> str:
    """The share of a day's events that kept the objective."""
    missed, events = (shared(f'avg_over_time({name}{{slo="{slo}"}}[{DAY}])') for name in (MISSED, EVENTS))
    return f"1 - {missed} / {events}"


def quantiles(histogram: str, *labels: str, shares: tuple[float, ...] = (0.5, 0.95)) -> list[tuple[str, str]]:
    """Durations that these shares of the events stay below, for each value of the labels."""
    names = " ".join(f"{{{{{label}}}}}" for label in labels)
    return [(quantile(share, histogram, WINDOW, *labels), f"{names} p{share * 100:g}".strip()) for share in shares]


def rates(counter: str, *labels: str) -> list[tuple[str, str]]:
    """Events per second, for each value of the labels."""
    return [(total(rate(counter, WINDOW), *labels), " ".join(f"{{{{{label}}}}}" for label in labels) or "all")]


def added(counter: str, window: str, *labels: str) -> str:
    """Events of a window."""
    return total(shared(f"increase({counter}[{window}])"), *labels)


def gauge(name: str, *labels: str) -> list[tuple[str, str]]:
    """A value of now that all processes agree on, for each value of its labels."""
    return [(shared(name), " ".join(f"{{{{{label}}}}}" for label in labels))]
