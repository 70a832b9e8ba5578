"""The original's RAG endpoints."""

from functools import partial
from pathlib import PurePosixPath

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from ragline.api.dependencies import Asker, Context, IdempotencyKey, Ingester, Repeatable, Trace
from ragline.api.questions import NewQuestion
from ragline.api.routes import PlannedRouter
from ragline.api.schemas import AnswerReply, OriginalQueryRequest, PipelineReply, PipelineRequest, TaskSubmitted
from ragline.api.submissions import Upload, file_parts
from ragline.api.waiting import JobReader
from ragline.common.constants import DEFAULT_TENANT
from ragline.common.errors import Forbidden
from ragline.common.identifiers import check_collection_name
from ragline.common.questions import Question
from ragline.common.queues import ROUTES, Step
from ragline.stores.uploads import open_upload

__all__ = ["router"]

router = PlannedRouter(prefix="/rag", tags=["rag"])


@router.post("/pipeline", summary="Ingest a PDF of the upload folder, which is the tenant default's")
async def start_pipeline(
    body: PipelineRequest, context: Context, tenant: Ingester, trace: Trace, idempotency_key: IdempotencyKey = None
) -> PipelineReply:
    if tenant != DEFAULT_TENANT:
        raise Forbidden(f"The upload folder is the tenant {DEFAULT_TENANT}'s: send the file itself")
    collection = _collection(body.persist_directory)
    name, file = await run_in_threadpool(open_upload, context.config.upload_root, body.pdf_path)
    with file:
        source = file_parts(partial(run_in_threadpool, file.read))
        upload = Upload(collection=collection, name=name, source=source, idempotency_key=idempotency_key)
        submission = await context.documents.submit(upload, tenant=tenant, trace=trace)
    steps = (Step.CONVERT, Step.SPLIT, Step.INDEX)
    return PipelineReply(
        task_ids={ROUTES[step].task: f"{submission.job_id}.{step}" for step in steps},
        job_id=submission.job_id,
        document_id=submission.document_id or "",
    )


@router.post("/query", summary="Ask a question, fetch the answer later")
async def query(
    body: OriginalQueryRequest, context: Context, tenant: Asker, trace: Trace, repeatable: Repeatable
) -> TaskSubmitted:
    new = _new_question(body, tenant, context.config.retrieval_top_k, repeatable)
    return TaskSubmitted(task_id=(await context.questions.submit(new, trace)).job_id)


@router.post("/query/sync", summary="Ask a question and wait for the answer")
async def query_sync(
    *,
    request: Request,
    body: OriginalQueryRequest,
    context: Context,
    tenant: Asker,
    trace: Trace,
    repeatable: Repeatable,
) -> AnswerReply:
    new = _new_question(body, tenant, context.config.retrieval_top_k, repeatable)
    submission = await context.questions.submit(new, trace)
    reader = JobReader(context.ledger, tenant=tenant, job_id=submission.job_id, owned=repeatable is None)
    job = await reader.answer(request, timeout_seconds=context.config.query_timeout_seconds)
    return AnswerReply(job_id=job.id, cached=job.cached, **job.result)


def _new_question(body: OriginalQueryRequest, tenant: str, usual_top_k: int, repeatable: Repeatable) -> NewQuestion:
    return NewQuestion(
        question=Question(text=body.question, top_k=body.top_k or usual_top_k),
        tenant=tenant,
        collection=_collection(body.persist_directory),
        idempotency=repeatable,
    )


def _collection(persist_directory: str) -> str:
    return check_collection_name(PurePosixPath(persist_directory).name)
