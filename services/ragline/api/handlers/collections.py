"""Collections: look at, ask, verify."""

from contextlib import nullcontext
from typing import Annotated

from fastapi import Header, Request, Response
from pydantic import TypeAdapter

from ragline.api.dependencies import Asker, Context, Ingester, Reader, Repeatable, Start, Trace
from ragline.api.examples import ACCEPTED, ANSWER_STREAM, sends
from ragline.api.paging import Cursor, Limit, decode_cursor, next_page
from ragline.api.questions import NewQuestion
from ragline.api.replies import accepted, collection_reply, submission_reply
from ragline.api.routes import PlannedRouter
from ragline.api.schemas import AnswerReply, CollectionList, CollectionReply, QueryRequest, SubmissionReply
from ragline.api.streaming import EventStream
from ragline.api.waiting import JobReader
from ragline.common.metadata import check_filter
from ragline.common.questions import Question
from ragline.common.queues import JobKind
from ragline.stores.ledger.accepting import NewJob

__all__ = ["router"]

router = PlannedRouter(prefix="/v1/collections", tags=["collections"])


_Name = TypeAdapter(str)


@router.get("", summary="Collections by name")
async def list_collections(
    context: Context, tenant: Reader, limit: Limit = 50, cursor: Cursor = None
) -> CollectionList:
    after = decode_cursor(cursor, _Name) if cursor else ""
    records = await context.ledger.collections(tenant, after=after, limit=limit + 1)
    page = records[:limit]
    following = next_page("/v1/collections", records, limit=limit, place=page[-1].name if page else "")
    return CollectionList(collections=[collection_reply(record) for record in page], next=following)


@router.get("/{name}", summary="One collection")
async def get_collection(name: str, context: Context, tenant: Reader) -> CollectionReply:
    return collection_reply(await context.ledger.collection(tenant, name))


@router.delete(
    "/{name}",
    status_code=202,
    responses=ACCEPTED,
    summary="Delete a collection with all its documents",
    description="It is out of sight at once; the name is free again when the job has ended.",
)
async def delete_collection(name: str, response: Response, tenant: Ingester, start: Start) -> SubmissionReply:
    return accepted(response, await start(NewJob(tenant=tenant, kind=JobKind.DROP, params={}, collection=name)))


@router.post(
    "/{name}/queries",
    response_model=AnswerReply,
    responses={
        200: {"description": "The answer, whole or as events", "content": ANSWER_STREAM},
        202: {"model": SubmissionReply, "description": "With `Prefer: respond-async`"}
        | sends("Location", "Retry-After", "Preference-Applied"),
    },
    summary="Ask a question",
    description=(
        "Waits for the answer. `Accept: text/event-stream` streams it; `Prefer: respond-async` answers 202 at once. "
        "In a stream, a `progress` event with a higher `attempt` means that the text begins anew."
    ),
)
async def query_collection(
    *,
    name: str,
    request: Request,
    body: QueryRequest,
    context: Context,
    tenant: Asker,
    trace: Trace,
    repeatable: Repeatable,
    # OpenAPI knows it from the media types of the reply.
    accept: Annotated[str, Header(include_in_schema=False)] = "application/json",
    prefer: Annotated[str, Header(alias="Prefer", description="`respond-async`: answer 202 at once")] = "",
    cache_control: Annotated[
        str, Header(alias="Cache-Control", description="`no-cache`: no answer that was given before")
    ] = "",
) -> Response | AnswerReply:
    new = NewQuestion(
        question=_question(body, context.config.retrieval_top_k),
        tenant=tenant,
        collection=name,
        min_generation=body.min_generation or 0,
        fresh="no-cache" in cache_control,
        idempotency=repeatable,
    )
    streams = "text/event-stream" in accept
    with context.streams.opening(tenant) if streams else nullcontext():
        submission = await context.questions.submit(new, trace)
    job_id = submission.job_id
    # Under a key another request may wait for the same job.
    reader = JobReader(context.ledger, tenant=tenant, job_id=job_id, owned=repeatable is None)
    if streams:
        events = reader.server_sent_events(request)
        return EventStream(events, streams=context.streams, tenant=tenant, headers={"Location": f"/v1/jobs/{job_id}"})
    if "respond-async" in prefer:
        reply = submission_reply(submission)
        headers = {"Location": reply.links["job"], "Retry-After": "1", "Preference-Applied": "respond-async"}
        return Response(reply.model_dump_json(), 202, headers, "application/json")
    job = await reader.answer(request, timeout_seconds=context.config.query_timeout_seconds)
    return AnswerReply(job_id=job_id, cached=job.cached, **job.result)


@router.post(
    "/{name}/verifications",
    status_code=202,
    responses=ACCEPTED,
    summary="Compare the stored chunks with the manifests",
)
async def verify_collection(name: str, response: Response, tenant: Ingester, start: Start) -> SubmissionReply:
    return accepted(response, await start(NewJob(tenant=tenant, kind=JobKind.VERIFY, params={}, collection=name)))


def _question(body: QueryRequest, usual_top_k: int) -> Question:
    return Question(
        text=body.question,
        top_k=body.top_k or usual_top_k,
        filter=check_filter(body.filter) if body.filter else {},
        model=body.model or "",
        temperature=body.temperature,
        max_tokens=body.max_tokens,
    )
