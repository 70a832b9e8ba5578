"""The original's task endpoints: demo calculations, Celery workflows, status in the original's words."""

from typing import Any

from ragline.api.dependencies import Context, Ingester, Reader, Start
from ragline.api.replies import state_of_step, task_status, tasks_info
from ragline.api.routes import PlannedRouter
from ragline.api.schemas import (
    AddRequest,
    ChainRequest,
    DivideRequest,
    ParallelRequest,
    ProcessRequest,
    TasksInfo,
    TaskStatus,
    TaskSubmitted,
)
from ragline.common.errors import DivisionByZero
from ragline.common.queues import JobKind
from ragline.stores.ledger.accepting import NewJob

__all__ = ["router"]

router = PlannedRouter(prefix="/tasks", tags=["tasks"])


@router.get("/info", summary="Queues, workers and tasks")
async def get_tasks_info(context: Context, _tenant: Reader) -> TasksInfo:
    return tasks_info(await context.ledger.queues())


@router.get("/status/{task_id}", summary="Status of a task")
async def get_task_status(task_id: str, context: Context, tenant: Reader) -> TaskStatus:
    job_id, dot, step = task_id.partition(".")
    job = await context.ledger.job(tenant, job_id)
    return task_status(task_id, job, state_of_step(job, step) if dot else job.state)


@router.post("/process", summary="Process data in the background")
async def process(body: ProcessRequest, tenant: Ingester, start: Start) -> TaskSubmitted:
    submission = await start(NewJob(tenant=tenant, kind=JobKind.PROCESS, params={"data": body.data}))
    return TaskSubmitted(task_id=submission.job_id)


@router.post("/calculate/add", summary="Add two numbers")
async def calculate_add(body: AddRequest, tenant: Ingester, start: Start) -> TaskSubmitted:
    return await _start_workflow(start, tenant, {"workflow": "add", **body.model_dump()})


@router.post("/calculate/divide", summary="Divide two numbers")
async def calculate_divide(body: DivideRequest, tenant: Ingester, start: Start) -> TaskSubmitted:
    _check_divisor(body.divisor)
    return await _start_workflow(start, tenant, {"workflow": "divide", **body.model_dump()})


@router.post("/workflow/chain", summary="Add, then divide: a Celery chain")
async def workflow_chain(body: ChainRequest, tenant: Ingester, start: Start) -> TaskSubmitted:
    _check_divisor(body.divisor)
    return await _start_workflow(start, tenant, {"workflow": "chain", **body.model_dump()})


@router.post("/workflow/parallel", summary="Add and divide in parallel, then sum: a Celery chord")
async def workflow_parallel(body: ParallelRequest, tenant: Ingester, start: Start) -> TaskSubmitted:
    _check_divisor(body.z)
    return await _start_workflow(start, tenant, {"workflow": "parallel", **body.model_dump()})


async def _start_workflow(start: Start, tenant: str, params: dict[str, Any]) -> TaskSubmitted:
    submission = await start(NewJob(tenant=tenant, kind=JobKind.WORKFLOW, params=params))
    return TaskSubmitted(task_id=submission.job_id)


def _check_divisor(divisor: float) -> None:
    if divisor == 0:
        raise DivisionByZero("The divisor must not be 0")
