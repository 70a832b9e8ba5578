"""Collections: look at, ask, verify."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from ragline.api.dependencies import Asker, Context, Ingester, Reader, Trace
from ragline.api.replies import collection_reply, submission_reply
from ragline.api.schemas import AnswerReply, CollectionList, CollectionReply, QueryRequest, SubmissionReply
from ragline.api.waiting import JobReader
from ragline.common.models import Submission
from ragline.common.queues import JobKind
from ragline.stores.ledger.accepting import NewJob

__all__ = ["router"]

router = APIRouter(prefix="/v1/collections", tags=["collections"])


@router.get("", summary="All collections")
async def list_collections(context: Context, tenant: Reader) -> CollectionList:
    records = await context.ledger.collections(tenant)
    return CollectionList(collections=[collection_reply(record) for record in records])


@router.get("/{name}", summary="One collection")
async def get_collection(name: str, context: Context, tenant: Reader) -> CollectionReply:
    return collection_reply(await context.ledger.collection(tenant, name))


@router.post(
    "/{name}/queries",
    response_model=AnswerReply,
    responses={202: {"model": SubmissionReply}, 200: {"content": {"text/event-stream": {}}}},
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
    accept: Annotated[str, Header()] = "application/json",
    prefer: Annotated[str, Header()] = "",
) -> Response | AnswerReply:
    job_id = await context.questions.submit(
        tenant=tenant, collection=name, question=body.question, top_k=body.top_k, trace=trace
    )
    reader = JobReader(context.ledger, tenant=tenant, job_id=job_id)
    if "text/event-stream" in accept:
        events = reader.events(request, owned=True)
        headers = {"Location": f"/v1/jobs/{job_id}", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)
    if "respond-async" in prefer:
        reply = submission_reply(Submission(job_id=job_id))
        headers = {"Location": reply.links["job"], "Retry-After": "1", "Preference-Applied": "respond-async"}
        return JSONResponse(reply.model_dump(mode="json"), 202, headers)
    job = await reader.answer(request, timeout_seconds=context.config.query_timeout_seconds)
    return AnswerReply(job_id=job_id, **job.result)


@router.post("/{name}/verifications", status_code=202, summary="Compare the stored chunks with the manifests")
async def verify_collection(
    name: str, response: Response, context: Context, tenant: Ingester, trace: Trace
) -> SubmissionReply:
    new = NewJob(tenant=tenant, kind=JobKind.VERIFY, params={}, collection=name)
    reply = submission_reply(await context.ledger.accept_job(new, trace))
    response.headers["Location"] = reply.links["job"]
    return reply
