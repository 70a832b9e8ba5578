"""What the service promises its users, and the alerts that say how fast the promise is being broken.

The share of events that missed an objective is compared over a long and a short window at once: the long one says that
it matters, the short one ends the alert soon after the cause has gone.
"""

from dataclasses import dataclass

from charts.monitoring.promql import Clock, at_most, rate, shared, total
from charts.monitoring.rules import INTERVAL_SECONDS, Alert, Record

__all__ = ["FAILED_CALLS", "FAULTS", "OBJECTIVES", "Objective", "burn_alerts", "burn_records"]

FAULTS = ("attempts_exhausted", "dependency_protocol", "dependency_rejected", "internal_error", "quarantined")
"""Codes of failed jobs that are the service's fault, not the document's or the caller's."""

EVENTS = "ragline:slo_events:rate5m"
MISSED = "ragline:slo_missed:rate5m"

FAILED_CALLS = 'outcome=~"transient|rejected|protocol"'
"""Of `ragline_dependency_calls_total`: not those that a caller gave up, or spoilt with bytes that are no PDF."""

FEWEST_EVENTS = 10
"""In the long window; of fewer, one alone would be a large share."""

_FAULTS = "|".join(FAULTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A promise: the share of events that may miss it, and which events those are.

    Attributes
    ----------
    events, missed
        Counters; an event that missed the objective is counted by both. `good` is the counter of those that kept it,
        where that is what is counted.
    """

    name: str
    alert: str
    promise: str
    share_percent: float
    events: tuple[str, ...]
    missed: tuple[str, ...]
    good: str = ""

    @property
    def budget(self) -> float:
        """The share of events that may miss it."""
        return round(1 - self.share_percent / 100, 6)


OBJECTIVES = (
    Objective(
        name="answers",
        alert="RaglineAnswersMissObjective",
        promise="a question is answered within 10 s",
        share_percent=99,
        events=(
            'ragline_jobs_ended_total{kind="query", state="succeeded"}',
            f'ragline_job_failures_total{{kind="query", code=~"{_FAULTS}"}}',
        ),
        missed=(),
        good=f'ragline_job_duration_seconds_bucket{{kind="query", {at_most(10)}}}',
    ),
    Objective(
        name="ingest",
        alert="RaglineIngestMissesObjective",
        promise="a document is ready for questions within 10 min",
        share_percent=99,
        events=(
            'ragline_jobs_ended_total{kind="ingest", state="succeeded"}',
            f'ragline_job_failures_total{{kind="ingest", code=~"{_FAULTS}"}}',
        ),
        missed=(),
        good=f'ragline_job_duration_seconds_bucket{{kind="ingest", {at_most(600)}}}',
    ),
    Objective(
        name="http",
        alert="RaglineServerErrors",
        promise="a request is not answered with a 5xx",
        share_percent=99.9,
        events=("ragline_http_requests_total",),
        missed=('ragline_http_requests_total{status=~"5.."}',),
    ),
)

# Severity, factor by which the budget is used up too fast, long and short window in hours and minutes.
BURNS = (("critical", 14.4, (1, 5)), ("warning", 6, (6, 30)))


def burn_records(clock: Clock) -> list[Record]:
    """Rates of events, and of those that missed their objective, for windows of any length."""
    window = clock.span(minutes=5)
    records = []
    for objective in OBJECTIVES:
        events = _sum(objective.events, window)
        missed = f"{_sum(objective.missed, window)} or 0 * {events}"
        if objective.good:
            missed = f"clamp_min({events} - ({_sum((objective.good,), window)} or 0 * {events}), 0)"
        labels = {"slo": objective.name}
        records += [Record(name=EVENTS, expr=events, labels=labels), Record(name=MISSED, expr=missed, labels=labels)]
    return records


def burn_alerts(clock: Clock) -> list[Alert]:
    """Two alerts for each objective: one that wakes somebody up, one for the slow leak."""
    alerts = []
    for objective in OBJECTIVES:
        for severity, factor, (hours, minutes) in BURNS:
            limit = round(factor * objective.budget, 6)
            long, short = clock.span(hours=hours), clock.span(minutes=minutes)
            count = f"{_counted(objective, long, clock)} >= {FEWEST_EVENTS}"
            expr = f"{_share(objective, long)} > {limit} and {_share(objective, short)} > {limit} and {count}"
            alerts.append(
                Alert(
                    name=objective.alert,
                    severity=severity,
                    expr=expr,
                    wait=clock.span(minutes=2 if severity == "critical" else 15),
                    summary=f"{{{{ $value | humanizePercentage }}}} of the last {hours} h missed: {objective.promise}",
                    meaning=f"The promise is {objective.share_percent:g} %. At this rate a month's failures are used "
                    f"up in {_days(factor)}.",
                    labels={"slo": objective.name},
                )
            )
    return alerts


def _days(factor: float) -> str:
    return f"{30 / factor:.0f} days"


def _sum(counters: tuple[str, ...], window: str) -> str:
    """The rate of all these counters together; one that nothing has counted yet is left out."""
    if len(counters) == 1:
        return total(rate(counters[0], window))
    parts = [
        f'label_replace({total(rate(counter, window))}, "part", "{i}", "", "")' for i, counter in enumerate(counters)
    ]
    return total(" or ".join(parts))


def _averaged(record: str, objective: Objective, window: str) -> str:
    return shared(f'avg_over_time({record}{{slo="{objective.name}"}}[{window}])')


def _counted(objective: Objective, window: str, clock: Clock) -> str:
    """Events in the window; an average would take what it knows of for the whole window, soon after a start."""
    seen = shared(f'sum_over_time({EVENTS}{{slo="{objective.name}"}}[{window}])')
    return f"{seen} * {clock.seconds(INTERVAL_SECONDS):g}"


def _share(objective: Objective, window: str) -> str:
    return f"({_averaged(MISSED, objective, window)} / {_averaged(EVENTS, objective, window)})"
