"""Whether the process lives, whether it can work, what it and all others have counted, and what an error code means."""

import asyncio

import structlog
from fastapi import Request
from fastapi.responses import PlainTextResponse, Response

from ragline.api.dependencies import Context
from ragline.api.error_pages import page_of
from ragline.api.exposition import exposition
from ragline.api.problems import ids_of, problem_response
from ragline.api.routes import PlannedRouter
from ragline.common.errors import InternalError, NotFound, RagError, TransientError, error_class
from ragline.common.metrics import EVENT_STREAMS_OPEN, LEDGER_UP

__all__ = ["router"]

logger = structlog.get_logger(__name__)

_PROXIES = ("Forwarded", "X-Forwarded-For")
"""Headers that a proxy adds. What all tenants do together is for those inside of the cluster, and an ingress hands on
whatever it is asked for."""

_READY = {"status": "ready", "redis": "ok", "object_store": "ok", "chroma": "ok"}

router = PlannedRouter(tags=["service"])


@router.get(
    "/healthz",
    summary="The process lives",
    description="Depends on nothing else.",
    responses={200: {"content": {"application/json": {"example": {"status": "alive"}}}}},
)
async def healthz() -> dict[str, str]:
    return {"status": "alive"}


@router.get(
    "/readyz",
    summary="The service can work",
    description="503 names what is missing.",
    response_model=dict[str, str],
    responses={200: {"content": {"application/json": {"example": _READY}}}},
)
async def readyz(request: Request, context: Context) -> dict[str, str] | Response:
    missing = await context.readiness.missing()
    if missing:
        details = "; ".join(error.detail for error in missing)
        # Answered here: what is raised is logged, and a probe asks every few seconds.
        return problem_response(TransientError("ragline", "readiness", details), *ids_of(request))
    return _READY


@router.get("/metrics", include_in_schema=False)
async def get_metrics(request: Request, context: Context) -> Response:
    if any(name in request.headers for name in _PROXIES):
        raise NotFound("There is no such address for callers from outside")
    values = {EVENT_STREAMS_OPEN.key: context.streams.count}
    try:
        values |= await context.metrics.read() | {LEDGER_UP.key: 1}
    except RagError as error:
        logger.warning("metrics not read", next="those of this process are shown alone", **error.to_log())
        values[LEDGER_UP.key] = 0
    # Some milliseconds of work for a thousand series: other requests need not wait for the end of it.
    text, media_type = await asyncio.to_thread(exposition, values, request.headers.get("accept", ""))
    return Response(text, media_type=media_type)


@router.get(
    "/errors/{code}",
    summary="What an error code means",
    description="The `type` of a problem leads here.",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"example": page_of(NotFound)}}}},
)
async def get_error(code: str) -> str:
    kind = error_class(code)
    if kind is InternalError and code != InternalError.code:
        raise NotFound("There is no such error code")
    return page_of(kind)
