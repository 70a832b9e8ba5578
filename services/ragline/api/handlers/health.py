"""Whether the process lives, whether it can work, and what an error code means."""

import asyncio

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from ragline.api.dependencies import Context
from ragline.common.errors import DependencyError, InternalError, NotFound, RagError, TransientError, error_class

__all__ = ["router"]

router = APIRouter(tags=["service"])


@router.get("/healthz", summary="The process lives", description="Depends on nothing else.")
async def healthz() -> dict[str, str]:
    return {"status": "alive"}


@router.get("/readyz", summary="The service can work", description="503 names what is missing.")
async def readyz(context: Context) -> dict[str, str]:
    checks = (context.ledger.ping(), context.objects.ping(), context.ping_chroma())
    outcomes = await asyncio.gather(*checks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, RagError):
            raise outcome
    missing = [outcome for outcome in outcomes if isinstance(outcome, RagError)]
    if missing:
        reasons = [outcome.reason for outcome in missing if isinstance(outcome, DependencyError) and outcome.reason]
        details = "; ".join(outcome.detail for outcome in missing)
        raise TransientError("ragline", "readiness", details, reason="; ".join(reasons))
    return {"status": "ready", "redis": "ok", "object_store": "ok", "chroma": "ok"}


@router.get("/errors/{code}", summary="What an error code means", response_class=PlainTextResponse)
async def get_error(code: str) -> str:
    kind = error_class(code)
    if kind is InternalError and code != InternalError.code:
        raise NotFound("There is no such error code")
    again = "may succeed later as it is" if kind.retryable else "needs a change before another try"
    return f"{code}: {kind.title}.\nHTTP status {kind.status}. The request {again}.\n"
