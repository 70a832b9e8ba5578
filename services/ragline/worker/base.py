"""The base task: claims a step, runs it, records how it ended. The one place that decides about retries."""

import random
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from celery import Celery, Task
from celery.exceptions import Reject

from ragline.common.config import ConfigError
from ragline.common.constants import (
    LEASE,
    MAX_ATTEMPTS,
    MAX_TRANSIENT_ATTEMPTS,
    RETRY_BACKOFF,
    RETRY_BACKOFF_LIMIT,
)
from ragline.common.errors import InternalError, RagError, TransientError
from ragline.common.messages import MESSAGE_VERSION, StepMessage
from ragline.common.queues import NEXT_STEP, Step
from ragline.common.spans import Span
from ragline.pipeline.protocols import PipelineStep, StepDelegated, StepDone, StepOutcome, StepUnfinished
from ragline.stores.ledger.claims import Claim, ClaimLost
from ragline.worker.context import ProcessContext
from ragline.worker.leases import RunningStep
from ragline.worker.step_spans import note_claim, note_outcome, step_span

__all__ = ["RaglineCelery", "StepTask", "retry_delay"]

logger = structlog.get_logger(__name__)

_PUT_BACK_PAUSE_SECONDS = 1.0
"""Pace at which a worker puts back messages of another release until a worker of that release takes them."""


class RaglineCelery(Celery):
    """A Celery app that knows its process's context once the process is up."""

    context: ProcessContext | None = None


class StepTask(Task):
    """Base of all tasks that do a step of a job."""

    abstract = True
    app: RaglineCelery

    @property
    def context(self) -> ProcessContext:
        """Clients of this process."""
        if self.app.context is None:
            msg = "this process has no context: the worker's start-up signals did not run"
            raise RuntimeError(msg)
        return self.app.context

    def run_step(
        self, raw: dict[str, Any], build: Callable[[ProcessContext], PipelineStep], *, lease: timedelta = LEASE
    ) -> None:
        """Claim the step, run it, record the outcome.

        Parameters
        ----------
        raw
            The step message as it came.
        build
            Makes the pipeline step, once a process; under the claim, so that a failure to build it is recorded.
        lease
            How long the claim holds when nobody renews it.

        Raises
        ------
        Reject
            The message goes back to its queue: it is of another release, or this worker takes no more work.
        """
        if raw.get("v") != MESSAGE_VERSION:
            logger.warning("message of another release put back", next="such a worker takes it", version=raw.get("v"))
            time.sleep(_PUT_BACK_PAUSE_SECONDS)
            raise Reject(reason="unknown message version", requeue=True)
        if self.context.stopping.is_set():
            # Between the order to stop and the end of consuming one more message may come.
            raise Reject(reason="the worker stops", requeue=True)
        message = StepMessage.model_validate(raw)
        with step_span(message, traceparent=self.request.get("traceparent")) as span:
            claim = self._claim(message, lease, span)
            if claim is not None:
                with structlog.contextvars.bound_contextvars(**_log_fields(claim)):
                    self._run_claimed(claim, build)

    def end_workflow(self, claim: Claim, *, result: object = None, error: RagError | None = None) -> None:
        """Record how a workflow ended that another task started."""
        ledger = self.context.ledger
        self._report(claim, partial(ledger.fail, claim, error) if error else partial(ledger.finish, claim, result))

    def _claim(self, message: StepMessage, lease: timedelta, span: Span | None) -> Claim | None:
        context = self.context
        claim = context.ledger.claim(
            message,
            context.worker,
            lease=lease,
            max_attempts=_max_attempts(message.step),
            span=span.traceparent if span else "",
        )
        if claim is None:
            logger.debug("nothing to claim", job_id=message.job_id, step=message.step)
            if span:
                span.drop()
        elif span:
            note_claim(span, claim, worker=context.worker, ready_at=context.ready_at())
        return claim

    def _run_claimed(self, claim: Claim, build: Callable[[ProcessContext], PipelineStep]) -> None:
        started = time.monotonic()
        took = partial(_seconds_since, started)
        try:
            with self.context.keeper.keep(claim) as step:
                outcome = self.context.part(build).run(step)
            self._record(step, outcome)
            logger.info("step ended", outcome=type(outcome).__name__, seconds=took())
        except ClaimLost as lost:
            note_outcome(lost.state)
            logger.info("step given up", reason=lost.state, seconds=took())
        except TransientError as error:
            self._retry(claim, error, seconds=took())
        except ConfigError as error:
            # The settings are wrong, not the document: tried again as in an outage, until an operator has mended them.
            self._retry(claim, TransientError("worker", "start", str(error)), seconds=took())
        except RagError as error:
            note_outcome("failed", error)
            logger.warning("step failed", next="the job ends as failed", seconds=took(), **error.to_log())
            self._report(claim, partial(self.context.ledger.fail, claim, error))
        except Exception as error:
            logger.exception("step failed by a defect", next="another try, if any is left")
            told = InternalError(f"{type(error).__name__} in step {claim.job.step}")
            self._retry(claim, told, seconds=took(), cause=error)

    def _record(self, step: RunningStep, outcome: StepOutcome) -> None:
        ledger, claim = self.context.ledger, step.claim
        match outcome:
            case StepUnfinished(progressed=progressed):
                note_outcome("interrupted" if step.interrupted else "handed_back")
                ledger.hand_back(claim, interrupted=step.interrupted, progressed=progressed)
            case StepDone(result=result, kept=kept):
                note_outcome("done")
                following = NEXT_STEP.get(claim.job.step)
                if following is None:
                    ledger.finish(claim, result, kept)
                else:
                    ledger.advance(claim, following)
            case StepDelegated():
                note_outcome("delegated")

    def _report(self, claim: Claim, report: Callable[[], object]) -> None:
        try:
            report()
        except ClaimLost as lost:
            logger.info("step given up", reason=lost.state)
        except TransientError as error:
            # Nothing is lost: the lease runs out and the sweeper queues the step again.
            logger.warning("outcome not recorded", job_id=claim.job.id, next="the lease runs out", **error.to_log())

    def _retry(self, claim: Claim, error: RagError, *, seconds: float, cause: Exception | None = None) -> None:
        note_outcome("retried", cause or error)
        delay = retry_delay(claim.job.attempts, error)
        limit = MAX_ATTEMPTS if isinstance(error, InternalError) else _max_attempts(claim.job.step)
        following = "another try after the delay; after the last one the job ends as failed"
        times = {"seconds": seconds, "delay_seconds": round(delay.total_seconds(), 3)}
        logger.warning("step failed for now", next=following, **times, **error.to_log())
        self._report(claim, partial(self.context.ledger.retry, claim, error, delay, max_attempts=limit))


def retry_delay(attempt: int, error: RagError) -> timedelta:
    """How long to wait before the next attempt.

    Doubling with equal jitter (half fixed, half random), as in "Exponential Backoff And Jitter", AWS Architecture
    Blog, 2015; a Retry-After of the other side is the lower bound. At most a minute.

    Parameters
    ----------
    attempt
        The one that failed, from 1.
    """
    doublings = min(attempt - 1, 10)
    longest = min(RETRY_BACKOFF * (1 << doublings), RETRY_BACKOFF_LIMIT)
    delay = longest / 2 + longest / 2 * random.random()  # noqa: S311 - jitter, not a secret
    asked = error.retry_after if isinstance(error, TransientError) and error.retry_after else timedelta()
    return min(max(delay, asked), RETRY_BACKOFF_LIMIT)


def _log_fields(claim: Claim) -> dict[str, object]:
    job = claim.job
    return {
        "job_id": job.id,
        "step": str(job.step),
        "queue": str(job.queue),
        "tenant": job.tenant,
        "document_id": job.document_id,
        "attempt": job.attempts,
        "trace_id": job.trace_id,
        "request_id": job.request_id,
    }


def _seconds_since(started: float) -> float:
    return round(time.monotonic() - started, 3)


def _max_attempts(step: Step) -> int:
    return MAX_ATTEMPTS if step in _WAITED_FOR else MAX_TRANSIENT_ATTEMPTS


_WAITED_FOR = {Step.ANSWER, Step.EMBED, Step.PROCESS, Step.WORKFLOW}
"""Steps somebody sits and waits for: better a clear failure soon than an answer in an hour."""
