"""The part of OpenAI's API that tools expect: a model is a collection."""

from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from ragline.api.completions import CompletionStream, completion
from ragline.api.dependencies import Asker, Context, Reader, Repeatable, Start, Trace
from ragline.api.embeddings import embedding_list
from ragline.api.examples import CHAT_STREAM, sends
from ragline.api.openai_schemas import ChatReply, ChatRequest, EmbeddingReply, EmbeddingRequest, ModelList, ModelReply
from ragline.api.questions import NewQuestion
from ragline.api.routes import PlannedRouter
from ragline.api.streaming import EventStream
from ragline.api.waiting import JobReader
from ragline.common.models import CollectionRecord
from ragline.common.queues import JobKind
from ragline.stores.ledger.accepting import NewJob

__all__ = ["router"]


router = PlannedRouter(prefix="/v1", tags=["openai"])

_MOST_MODELS = 1000


@router.post(
    "/chat/completions",
    summary="Ask a collection, as a chat",
    description=(
        "`model` is a collection; the last message is the question, earlier ones say what it means. `citations` come "
        "beside the choices, in the last chunk of a stream too. `top_k`, `filter` and `min_generation` are as in "
        "queries. Messages of the system are not followed: the service has a prompt of its own."
    ),
    response_model=ChatReply,
    responses={200: {"description": "The answer, whole or in chunks", "content": CHAT_STREAM} | sends("Location")},
)
async def chat_completions(
    *,
    request: Request,
    body: ChatRequest,
    context: Context,
    tenant: Asker,
    trace: Trace,
    repeatable: Repeatable,
) -> Response:
    new = NewQuestion(
        question=body.question(usual_top_k=context.config.retrieval_top_k),
        tenant=tenant,
        collection=body.model,
        min_generation=body.min_generation or 0,
        idempotency=repeatable,
    )
    with context.streams.opening(tenant) if body.stream else nullcontext():
        job_id = (await context.questions.submit(new, trace)).job_id
    reader = JobReader(context.ledger, tenant=tenant, job_id=job_id, owned=repeatable is None)
    headers = {"Location": f"/v1/jobs/{job_id}"}
    if not body.stream:
        job = await reader.answer(request, timeout_seconds=context.config.query_timeout_seconds)
        return JSONResponse(completion(job), headers=headers)
    stream = CompletionStream(
        job_id=job_id,
        collection=body.model,
        with_usage=body.stream_options is not None and body.stream_options.include_usage,
        finished=lambda: context.ledger.job(tenant, job_id),
    )
    chunks = _chunks(stream, reader, request)
    return EventStream(chunks, streams=context.streams, tenant=tenant, headers=headers)


@router.post(
    "/embeddings",
    summary="Embed texts with the model of the collections",
    response_model=EmbeddingReply,
)
async def create_embeddings(
    *,
    request: Request,
    body: EmbeddingRequest,
    context: Context,
    tenant: Asker,
    start: Start,
    repeatable: Repeatable,
) -> JSONResponse:
    if body.model != context.config.embedding_model_name:
        await context.ledger.collection(tenant, body.model)
    submission = await start(NewJob(tenant=tenant, kind=JobKind.EMBED, params={"texts": body.texts}))
    reader = JobReader(context.ledger, tenant=tenant, job_id=submission.job_id, owned=repeatable is None)
    job = await reader.answer(request, timeout_seconds=context.config.query_timeout_seconds)
    return JSONResponse(embedding_list(job, encoding_format=body.encoding_format, dimensions=body.dimensions))


@router.get("/models", summary="Collections, as models")
async def list_models(context: Context, tenant: Reader) -> ModelList:
    records = await context.ledger.collections(tenant, limit=_MOST_MODELS)
    return ModelList(data=[_model(record) for record in records])


@router.get("/models/{model}", summary="One collection, as a model")
async def get_model(model: str, context: Context, tenant: Reader) -> ModelReply:
    return _model(await context.ledger.collection(tenant, model))


async def _chunks(stream: CompletionStream, reader: JobReader, request: Request) -> AsyncGenerator[bytes]:
    async with aclosing(reader.events(request)) as events:
        async for chunk in stream.chunks(events):
            yield chunk


def _model(record: CollectionRecord) -> ModelReply:
    return ModelReply(id=record.name, created=record.created_at // 1000)
