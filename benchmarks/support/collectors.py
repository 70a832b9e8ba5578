"""Collectors of spans for `tracing.py`: one that takes everything and looks at nothing, and one that hangs."""

import asyncio

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

__all__ = ["create_hanging", "create_taking"]


def create_hanging() -> Starlette:
    """Takes a request and never answers it."""

    async def hang(request: Request) -> Response:
        await asyncio.Event().wait()
        return Response()

    return _app(hang)


def create_taking() -> Starlette:
    """Answers at once."""

    async def take(request: Request) -> Response:
        await request.body()
        return Response()

    return _app(take)


def _app(traces: object) -> Starlette:
    async def healthy(request: Request) -> Response:
        return Response()

    return Starlette(routes=[Route("/healthz", healthy), Route("/v1/traces", traces, methods=["POST"])])  # type: ignore[arg-type] # an endpoint
