"""What handlers are given.

All of it is asynchronous, though nothing waits: FastAPI would hand each plain function to a thread.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Header, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from ragline.api.context import ApiContext
from ragline.common.access import Principal, Scope
from ragline.common.errors import Forbidden
from ragline.common.logging import note_job
from ragline.common.models import Submission
from ragline.common.trace_context import TraceContext
from ragline.stores.ledger.accepting import Idempotency, NewJob

__all__ = [
    "Asker",
    "Context",
    "IdempotencyKey",
    "Ingester",
    "Reader",
    "Repeatable",
    "Start",
    "Submitter",
    "Trace",
    "get_context",
    "get_idempotency",
    "get_start",
    "get_tenant",
    "get_trace",
]

# For the OpenAPI page: `AccessMiddleware` has read and checked the key by then.
_API_KEY = APIKeyHeader(
    name="X-API-Key", scheme_name="ApiKey", description="A key of `ragline keys create`", auto_error=False
)
_BEARER = HTTPBearer(scheme_name="Bearer", description="The same key, as OpenAI's clients send it", auto_error=False)


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


async def get_context(request: Request) -> ApiContext:
    """The process's clients."""
    context: ApiContext = request.app.state.context
    return context


async def get_idempotency(request: Request, key: IdempotencyKey = None) -> Idempotency | None:
    """How a repetition of this request is known, if the caller wants that; for requests whose body is JSON."""
    if key is None:
        return None
    body = hashlib.sha256(await request.body()).hexdigest()
    return Idempotency(key=key, request=f"{request.method} {request.url.path} {body}")


async def get_trace(request: Request) -> TraceContext:
    """Who this request is."""
    trace: TraceContext = request.state.trace
    return trace


async def get_start(
    context: Annotated[ApiContext, Depends(get_context)],
    trace: Annotated[TraceContext, Depends(get_trace)],
    repeatable: Annotated[Idempotency | None, Depends(get_idempotency)],
) -> Callable[[NewJob], Awaitable[Submission]]:
    """Accepts a job on behalf of this request."""

    async def start(new: NewJob) -> Submission:
        submission = await context.ledger.accept_job(replace(new, idempotency=repeatable), trace)
        note_job(submission.job_id, submission.document_id)
        return submission

    return start


async def get_tenant(
    request: Request,
    needed: SecurityScopes,
    _key: Annotated[str | None, Security(_API_KEY)],
    _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
) -> str:
    """The tenant of a caller that has one of the scopes."""
    caller: Principal = request.state.principal
    if not any(caller.may(Scope(scope)) for scope in needed.scopes):
        raise Forbidden(f"The key needs the scope {' or '.join(needed.scopes)}")
    return caller.tenant


Context = Annotated[ApiContext, Depends(get_context)]
Trace = Annotated[TraceContext, Depends(get_trace)]

# The tenant, given to those who may read, ask, or change documents. Who may start a job of any kind may cancel one.
Asker = Annotated[str, Security(get_tenant, scopes=[Scope.QUERY])]
Ingester = Annotated[str, Security(get_tenant, scopes=[Scope.INGEST])]
Reader = Annotated[str, Security(get_tenant, scopes=[Scope.READ])]
Submitter = Annotated[str, Security(get_tenant, scopes=[Scope.INGEST, Scope.QUERY])]
Repeatable = Annotated[Idempotency | None, Depends(get_idempotency)]
Start = Annotated[Callable[[NewJob], Awaitable[Submission]], Depends(get_start)]
