"""Tasks of the `default` queue: the demo calculations, data processing and verification."""

from math import isfinite
from typing import Any

from celery import Signature, chain, current_app, group, shared_task
from celery.app.task import Context

from ragline.common.constants import WORKFLOW_LEASE
from ragline.common.errors import DivisionByZero, InternalError, InvalidRequest
from ragline.pipeline.processing import ProcessStep
from ragline.pipeline.protocols import StepControl, StepDelegated, StepOutcome
from ragline.pipeline.verifying import VerifyStep
from ragline.worker.base import StepTask
from ragline.worker.context import ProcessContext
from ragline.worker.factory import build_vectors

__all__ = [
    "add_numbers_task",
    "divide_numbers_task",
    "fail_workflow_task",
    "finish_workflow_task",
    "process_data_task",
    "start_workflow_task",
    "sum_numbers_task",
    "verify_collection_task",
]


_ARITHMETIC = {"ignore_result": False, "resultrepr_maxsize": 0}
"""Results go to the next link, and to no page of Flower's."""


def _verify_step(context: ProcessContext) -> VerifyStep:
    return VerifyStep(ledger=context.ledger, files=context.files, vectors=context.part(build_vectors))


@shared_task(name="verify_collection_task", base=StepTask, bind=True)
def verify_collection_task(self: StepTask, message: dict[str, Any]) -> None:
    """Compare a collection's chunks with its manifests."""
    self.run_step(message, _verify_step)


@shared_task(name="process_data_task", base=StepTask, bind=True)
def process_data_task(self: StepTask, message: dict[str, Any]) -> None:
    """Process a piece of data in the background."""
    self.run_step(message, _process_step)


@shared_task(name="start_workflow_task", base=StepTask, bind=True)
def start_workflow_task(self: StepTask, message: dict[str, Any]) -> None:
    """Start a Celery canvas whose last link records the outcome in the ledger."""
    self.run_step(message, _workflow_step, lease=WORKFLOW_LEASE)


@shared_task(name="add_numbers_task", **_ARITHMETIC)
def add_numbers_task(x: float, y: float) -> float:
    """Add two numbers."""
    return x + y


@shared_task(name="divide_numbers_task", **_ARITHMETIC)
def divide_numbers_task(dividend: float, divisor: float) -> float:
    """Divide one number by another."""
    return dividend / divisor


@shared_task(name="sum_numbers_task", **_ARITHMETIC)
def sum_numbers_task(numbers: list[float]) -> float:
    """Add up the results of parallel tasks."""
    return sum(numbers)


@shared_task(name="finish_workflow_task", base=StepTask, bind=True)
def finish_workflow_task(self: StepTask, result: float, job_id: str, token: str) -> None:
    """Last link of a workflow: its result is the job's."""
    if claim := self.context.ledger.claim_of(job_id, token):
        self.end_workflow(claim, result=result, error=None if isfinite(result) else _not_finite())


@shared_task(name="fail_workflow_task", base=StepTask)
def fail_workflow_task(request: Context, error: Exception, _traceback: object, job_id: str, token: str) -> None:
    """Error link of a workflow: the job fails. Not bound: Celery passes the error to plain functions only."""
    task: StepTask = current_app.tasks["fail_workflow_task"]
    if claim := task.context.ledger.claim_of(job_id, token):
        reason = DivisionByZero if isinstance(error, ZeroDivisionError) else InternalError
        task.end_workflow(claim, error=reason(f"{request.task}: {type(error).__name__}"))


class _WorkflowStep:
    """Starts the job's canvas and leaves the rest to its links."""

    def run(self, control: StepControl) -> StepOutcome:
        """Start the canvas."""
        link = {"job_id": control.job.id, "token": control.claim.token}
        canvas = _canvas(control.job.params) | finish_workflow_task.s(**link)
        canvas.on_error(fail_workflow_task.s(**link)).apply_async()
        return StepDelegated()


def _process_step(_context: ProcessContext) -> ProcessStep:
    return ProcessStep()


def _workflow_step(_context: ProcessContext) -> _WorkflowStep:
    return _WorkflowStep()


def _not_finite() -> InvalidRequest:
    return InvalidRequest("The result is too large for a number")


def _canvas(params: Any) -> Signature:  # noqa: ANN401 - the job's parameters, checked by the API
    match params:
        case {"workflow": "add", "x": x, "y": y}:
            return add_numbers_task.s(x, y)
        case {"workflow": "divide", "dividend": dividend, "divisor": divisor}:
            return divide_numbers_task.s(dividend, divisor)
        case {"workflow": "chain", "x": x, "y": y, "divisor": divisor}:
            return chain(add_numbers_task.s(x, y), divide_numbers_task.s(divisor))
        case {"workflow": "parallel", "x": x, "y": y, "z": z}:
            return group(add_numbers_task.s(x, y), divide_numbers_task.s(x, z)) | sum_numbers_task.s()
        case _:
            raise InternalError("the workflow is not known")
