"""Jobs: look at, wait for, follow, cancel."""

import hashlib
from http import HTTPStatus
from typing import Annotated

from fastapi import Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from ragline.api.dependencies import Context, Reader, Submitter
from ragline.api.examples import ANSWER_STREAM, sends
from ragline.api.replies import job_reply
from ragline.api.routes import PlannedRouter
from ragline.api.schemas import JobReply
from ragline.api.streaming import EventStream
from ragline.api.waiting import JobReader
from ragline.common.models import JobRecord

__all__ = ["router"]

router = PlannedRouter(prefix="/v1/jobs", tags=["jobs"])

_EventId = Annotated[
    str,
    Header(
        alias="Last-Event-ID",
        # Its parts have 64 bits: all numbers of 19 digits do.
        pattern=r"^[0-9]{1,19}(-[0-9]{1,19})?$",
        description="The events after this one; default: all",
    ),
]


@router.get(
    "/{job_id}",
    summary="One job",
    description="`wait` holds the reply until the job ends, at most so long.",
    response_model=JobReply,
    responses={
        200: sends("ETag", "Retry-After"),
        304: {"description": "Nothing has changed since the reply with this `ETag`", **sends("ETag", "Retry-After")},
    },
)
async def get_job(
    *,
    job_id: str,
    response: Response,
    context: Context,
    tenant: Reader,
    wait: Annotated[float, Query(ge=0, le=30, description="Seconds")] = 0,
    if_none_match: Annotated[
        str, Header(alias="If-None-Match", description="`ETag` of an earlier reply: 304 if it is still true")
    ] = "",
) -> JobReply | Response:
    job = await context.ledger.job(tenant, job_id)
    if wait and not job.state.final:
        job = await JobReader(context.ledger, tenant=tenant, job_id=job_id).ended(timeout_seconds=wait)
    reply = _reply(response, job)
    response.headers["ETag"] = tag = _etag(reply)
    if tag in {known.strip() for known in if_none_match.split(",")}:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=dict(response.headers))
    return reply


@router.delete("/{job_id}", status_code=202, responses={202: sends("Retry-After")}, summary="Cancel a job")
async def cancel_job(job_id: str, response: Response, context: Context, tenant: Submitter) -> JobReply:
    await context.ledger.cancel(tenant, job_id)
    return _reply(response, await context.ledger.job(tenant, job_id))


@router.get(
    "/{job_id}/events",
    summary="A job's events as they come",
    description="Server-sent events `progress`, `token`, `citation`, `usage`, `error`, and `done` as the last one.",
    response_class=StreamingResponse,
    responses={200: {"description": "The events", "content": ANSWER_STREAM}},
)
async def get_job_events(
    job_id: str, request: Request, context: Context, tenant: Reader, last_event_id: _EventId = "0"
) -> StreamingResponse:
    await context.ledger.job(tenant, job_id)
    events = JobReader(context.ledger, tenant=tenant, job_id=job_id).server_sent_events(request, after=last_event_id)
    with context.streams.opening(tenant):
        return EventStream(events, streams=context.streams, tenant=tenant)


def _etag(reply: JobReply) -> str:
    """Weak: it stands for the same job in the same state, whatever the bytes of the reply are."""
    return f'W/"{hashlib.blake2b(reply.model_dump_json().encode(), digest_size=12).hexdigest()}"'


def _reply(response: Response, job: JobRecord) -> JobReply:
    if not job.state.final:
        response.headers["Retry-After"] = "1"
    return job_reply(job)
