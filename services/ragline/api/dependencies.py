"""What handlers are given."""

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from ragline.api.context import ApiContext
from ragline.common.access import Principal, Scope
from ragline.common.errors import Forbidden
from ragline.common.telemetry import TraceContext

__all__ = [
    "Asker",
    "Caller",
    "Context",
    "Ingester",
    "Reader",
    "Submitter",
    "Trace",
    "get_caller",
    "get_context",
    "get_tenant",
    "get_trace",
]

# For the OpenAPI page: `AccessMiddleware` has read and checked the key by then.
_API_KEY = APIKeyHeader(
    name="X-API-Key", scheme_name="ApiKey", description="A key of `ragline keys create`", auto_error=False
)
_BEARER = HTTPBearer(scheme_name="Bearer", description="The same key, as OpenAI's clients send it", auto_error=False)


def get_caller(request: Request) -> Principal:
    """Who sends this request."""
    principal: Principal = request.state.principal
    return principal


def get_context(request: Request) -> ApiContext:
    """The process's clients."""
    context: ApiContext = request.app.state.context
    return context


def get_tenant(
    needed: SecurityScopes,
    caller: Annotated[Principal, Depends(get_caller)],
    _key: Annotated[str | None, Security(_API_KEY)],
    _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
) -> str:
    """The tenant of a caller that has one of the scopes."""
    if not any(caller.may(Scope(scope)) for scope in needed.scopes):
        raise Forbidden(f"The key needs the scope {' or '.join(needed.scopes)}")
    return caller.tenant


def get_trace(request: Request) -> TraceContext:
    """Who this request is."""
    trace: TraceContext = request.state.trace
    return trace


Caller = Annotated[Principal, Depends(get_caller)]
Context = Annotated[ApiContext, Depends(get_context)]
Trace = Annotated[TraceContext, Depends(get_trace)]

# The tenant, given to those who may read, ask, or change documents. Who may start a job of any kind may cancel one.
Asker = Annotated[str, Security(get_tenant, scopes=[Scope.QUERY])]
Ingester = Annotated[str, Security(get_tenant, scopes=[Scope.INGEST])]
Reader = Annotated[str, Security(get_tenant, scopes=[Scope.READ])]
Submitter = Annotated[str, Security(get_tenant, scopes=[Scope.INGEST, Scope.QUERY])]
