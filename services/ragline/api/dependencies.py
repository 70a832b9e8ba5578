"""What handlers are given."""

import secrets
from typing import Annotated

from fastapi import Depends, Header, Request

from ragline.api.context import ApiContext
from ragline.common.constants import DEFAULT_TENANT
from ragline.common.errors import Unauthorized
from ragline.common.telemetry import TraceContext

__all__ = ["Context", "IdempotencyKey", "Tenant", "Trace", "get_context", "get_tenant", "get_trace"]


def get_context(request: Request) -> ApiContext:
    """The process's clients."""
    context: ApiContext = request.app.state.context
    return context


def get_trace(request: Request) -> TraceContext:
    """Who this request is."""
    trace: TraceContext = request.state.trace
    return trace


def get_tenant(request: Request, context: Annotated[ApiContext, Depends(get_context)]) -> str:
    """The owner of the request's key; one tenant owns everything while keys are a plain list."""
    if not context.config.enable_auth:
        return DEFAULT_TENANT
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    given = (request.headers.get("x-api-key") or bearer).encode()
    known = (key.strip().encode() for key in context.config.api_keys.get_secret_value().split(","))
    # Every key is compared, and in constant time, so that the time of an answer tells nothing.
    matches = [secrets.compare_digest(given, key) for key in known if key]
    if not any(matches):
        raise Unauthorized("Send a valid key as X-API-Key or Authorization: Bearer")
    return DEFAULT_TENANT


Context = Annotated[ApiContext, Depends(get_context)]
Tenant = Annotated[str, Depends(get_tenant)]
Trace = Annotated[TraceContext, Depends(get_trace)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]([ -~]*[!-~])?$",
        description="Printable ASCII of the caller's choice: the same key again is the same request",
    ),
]
