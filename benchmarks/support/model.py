"""A chat model that answers after a fixed time: OpenAI's protocol, streamed, one token at a time."""

import asyncio
import json
import os
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

__all__ = ["TOKENS", "create_model"]

TOKENS = 20
"""Of every answer; the last one cites the first passage."""


def create_model() -> Starlette:
    """The app; FIRST_TOKEN_SECONDS and TOKEN_SECONDS say how slow it is."""
    first, each = (float(os.environ[name]) for name in ("FIRST_TOKEN_SECONDS", "TOKEN_SECONDS"))

    async def events() -> AsyncIterator[str]:
        await asyncio.sleep(first)
        for number in range(TOKENS):
            text = " [1]." if number == TOKENS - 1 else f" word{number}"
            yield _event([{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}])
            await asyncio.sleep(each)
        yield _event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
        usage = {"prompt_tokens": 100, "completion_tokens": TOKENS, "total_tokens": 100 + TOKENS}
        yield _event([], usage)
        yield "data: [DONE]\n\n"

    async def chat(request: Request) -> Response:
        await request.body()
        return StreamingResponse(events(), media_type="text/event-stream")

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok")

    return Starlette(routes=[Route("/healthz", healthz), Route("/v1/chat/completions", chat, methods=["POST"])])


def _event(choices: list[dict[str, object]], usage: dict[str, int] | None = None) -> str:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "stub", "choices": choices}
    return f"data: {json.dumps({**chunk, 'usage': usage})}\n\n"
