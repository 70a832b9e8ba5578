"""The original's RAG endpoints."""

from functools import partial
from pathlib import PurePosixPath

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from ragline.api.dependencies import Context, Tenant, Trace
from ragline.api.schemas import AnswerReply, OriginalQueryRequest, PipelineReply, PipelineRequest, TaskSubmitted
from ragline.api.submissions import Upload, file_parts
from ragline.api.waiting import JobReader
from ragline.common.identifiers import check_collection_name
from ragline.common.queues import ROUTES, Step
from ragline.stores.uploads import open_upload

__all__ = ["router"]

router = APIRouter(prefix="/rag", tags=["rag"])


@router.post("/pipeline", summary="Ingest a PDF of the upload folder")
async def start_pipeline(body: PipelineRequest, context: Context, tenant: Tenant, trace: Trace) -> PipelineReply:
    collection = _collection(body.persist_directory)
    name, file = await run_in_threadpool(open_upload, context.config.upload_root, body.pdf_path)
    with file:
        source = file_parts(partial(run_in_threadpool, file.read))
        upload = Upload(collection=collection, name=name, source=source)
        submission = await context.documents.submit(upload, tenant=tenant, trace=trace)
    steps = (Step.CONVERT, Step.SPLIT, Step.INDEX)
    return PipelineReply(
        task_ids={ROUTES[step].task: f"{submission.job_id}.{step}" for step in steps},
        job_id=submission.job_id,
        document_id=submission.document_id or "",
    )


@router.post("/query", summary="Ask a question, fetch the answer later")
async def query(body: OriginalQueryRequest, context: Context, tenant: Tenant, trace: Trace) -> TaskSubmitted:
    return TaskSubmitted(task_id=await _ask(body, context, tenant, trace))


@router.post("/query/sync", summary="Ask a question and wait for the answer")
async def query_sync(
    request: Request, body: OriginalQueryRequest, context: Context, tenant: Tenant, trace: Trace
) -> AnswerReply:
    reader = JobReader(context.ledger, tenant=tenant, job_id=await _ask(body, context, tenant, trace))
    job = await reader.answer(request, timeout_seconds=context.config.query_timeout_seconds)
    return AnswerReply(job_id=job.id, **job.result)


async def _ask(body: OriginalQueryRequest, context: Context, tenant: str, trace: Trace) -> str:
    collection = _collection(body.persist_directory)
    return await context.questions.submit(
        tenant=tenant, collection=collection, question=body.question, top_k=body.top_k, trace=trace
    )


def _collection(persist_directory: str) -> str:
    return check_collection_name(PurePosixPath(persist_directory).name)
