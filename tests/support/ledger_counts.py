"""What the ledger has counted against what happened in its model."""

from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from ragline.common.metric_types import SEPARATOR, SUM, Metric
from ragline.common.metrics import (
    DOCUMENTS,
    JOB_DURATION,
    JOB_FAILURES,
    JOBS_ACCEPTED,
    JOBS_ENDED,
    QUEUE_WAIT,
    REDISPATCHES,
    STEP_DURATION,
    STEPS,
)
from ragline.common.models import DocumentState, JobState
from ragline.common.queues import ROUTES
from tests.support.ledger_model import LedgerModel

__all__ = ["check_counts", "counted", "observations"]


class Counted(Protocol):
    """A snapshot, as far as it is looked at here."""

    @property
    def metrics(self) -> Mapping[str, str]:
        """The hash that everything is counted in."""


def counted(metrics: Mapping[str, str], metric: Metric) -> dict[tuple[str, ...], int]:
    """What was counted by the values of the labels, without what is 0."""
    rows = (field.split(SEPARATOR)[1:] for field in metrics if field.split(SEPARATOR)[0] == metric.key)
    found = {tuple(values): int(metrics[metric.count_field(*values)]) for values in rows}
    return {values: number for values, number in found.items() if number}


def observations(metrics: Mapping[str, str], metric: Metric) -> int:
    """How much went into a histogram, all labels together."""
    return sum(number for values, number in counted(metrics, metric).items() if values[-1] != SUM)


def check_counts(model: LedgerModel, seen: Counted) -> None:
    """Everything was counted once, and in the same step as it happened."""
    _check_jobs(model, seen.metrics)
    _check_claims(model, seen.metrics)
    states = Counter(
        (str(document.state),) for document in model.documents.values() if document.state is not DocumentState.DELETED
    )
    assert counted(seen.metrics, DOCUMENTS) == states


def _check_jobs(model: LedgerModel, metrics: Mapping[str, str]) -> None:
    jobs = model.jobs.values()
    ended = [job for job in jobs if job.state.final]
    assert counted(metrics, JOBS_ACCEPTED) == Counter((str(job.kind),) for job in jobs)
    assert counted(metrics, JOBS_ENDED) == Counter((str(job.kind), str(job.state)) for job in ended)
    failed = [job for job in ended if job.state is JobState.FAILED]
    assert counted(metrics, JOB_FAILURES) == Counter((str(job.kind), job.error) for job in failed)
    assert observations(metrics, JOB_DURATION) == sum(job.state is JobState.SUCCEEDED for job in ended)


def _check_claims(model: LedgerModel, metrics: Mapping[str, str]) -> None:
    outcomes = {
        (str(ROUTES[step].queue), str(step), outcome): number for (step, outcome), number in model.outcomes.items()
    }
    assert counted(metrics, STEPS) == outcomes
    claims, open_claims = (
        sum(job.claims for job in model.jobs.values()),
        sum(job.step_state == "leased" for job in model.jobs.values()),
    )
    assert observations(metrics, QUEUE_WAIT) == claims
    assert observations(metrics, STEP_DURATION) == sum(outcomes.values()) == claims - open_claims
    redispatches = counted(metrics, REDISPATCHES)
    redispatches.pop(("message_vanished",), None)
    assert redispatches == {(reason,): number for reason, number in model.redispatches.items() if number}
