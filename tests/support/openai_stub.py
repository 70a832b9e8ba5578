"""An OpenAI-compatible server in this process that answers as a test's script says."""

import asyncio
import base64
import hashlib
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Event, Lock, Thread
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

__all__ = ["OpenAIStub", "Reply", "openai_stub", "stub", "stub_server", "vector_of"]

_POLL_SECONDS = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How one request is answered; by default well.

    Attributes
    ----------
    body
        Sent as it is, instead of the regular body.
    edit
        Changes the regular body of an embeddings request before it is sent.
    gate
        The answer, or the rest of a streamed one after its first piece, waits for it.
    pieces, usage, finish_reason
        Of a chat answer.
    obey
        Makes the pieces of the request's body.
    breaks_off
        A streamed answer ends with a broken connection.
    delay_seconds
        Before anything of the answer is sent.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    media_type: str = "application/json"
    edit: Callable[[dict[str, Any]], object] | None = None
    gate: Event | None = None
    pieces: Sequence[str] = ("An answer", " [1].")
    usage: Mapping[str, int] | None = field(default_factory=lambda: {"prompt_tokens": 10, "completion_tokens": 4})
    finish_reason: str | None = "stop"
    obey: Callable[[dict[str, Any]], Sequence[str]] | None = None
    breaks_off: bool = False
    delay_seconds: float = 0


@dataclass(kw_only=True)
class OpenAIStub:
    """The running server.

    Attributes
    ----------
    script
        Replies to the next requests, in order.
    usual
        The reply to all others, by the request's body: `messages` are of a chat, `input` is to be embedded.
    requests
        Body of each request.
    keys
        ``Authorization`` header of each request.
    most_in_flight
        The highest number of requests that waited for their answer at one time.
    given_up
        Set when a client leaves a stream before its end.
    """

    url: str
    dimensions: int = 16
    script: deque[Reply] = field(default_factory=deque)
    usual: Callable[[dict[str, Any]], Reply] = lambda _: Reply()
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    given_up: Event = field(default_factory=Event)
    _lock: Lock = field(default_factory=Lock)

    def answer(self, *replies: Reply) -> None:
        """Add to the script."""
        self.script.extend(replies)

    def reset(self) -> None:
        """Forget script and requests, for the next test."""
        self.script.clear()
        self.usual = lambda _: Reply()
        self.requests.clear()
        self.keys.clear()
        self.most_in_flight = 0
        self.given_up = Event()

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``, streamed when the request says so."""
        reply = await self._take(request)
        if reply.status != 200 or reply.body is not None:
            return _raw(reply)
        body = await request.json()
        reply = replace(reply, pieces=reply.obey(body)) if reply.obey else reply
        if not body.get("stream"):
            await _opened(reply.gate)
            return JSONResponse(_completion(reply))
        return StreamingResponse(self._events(reply), media_type="text/event-stream")

    async def embeddings(self, request: Request) -> Response:
        """``POST /v1/embeddings``."""
        reply = await self._take(request)
        with self._lock:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await _opened(reply.gate)
        with self._lock:
            self.in_flight -= 1
        if reply.status != 200 or reply.body is not None:
            return _raw(reply)
        payload = _embeddings(await request.json(), self.dimensions)
        return JSONResponse(reply.edit(payload) if reply.edit else payload)

    async def _take(self, request: Request) -> Reply:
        body = await request.json()
        with self._lock:
            self.requests.append(body)
            self.keys.append(request.headers.get("authorization", ""))
            reply = self.script.popleft() if self.script else self.usual(body)
        await asyncio.sleep(reply.delay_seconds)
        return reply

    async def _events(self, reply: Reply) -> AsyncIterator[str]:
        try:
            for index, piece in enumerate(reply.pieces):
                if index == 1:
                    await _opened(reply.gate)
                yield _event([{"index": 0, "delta": {"role": "assistant", "content": piece}, "finish_reason": None}])
                # A send does not always wait: without this the server would not notice that its client has left.
                await asyncio.sleep(0)
        except (asyncio.CancelledError, GeneratorExit):
            self.given_up.set()
            raise
        if reply.breaks_off:
            raise ConnectionResetError
        if reply.finish_reason:
            yield _event([{"index": 0, "delta": {}, "finish_reason": reply.finish_reason}])
        if reply.usage is not None:
            yield _event([], usage={**reply.usage, "total_tokens": sum(reply.usage.values())})
        yield "data: [DONE]\n\n"


@contextmanager
def openai_stub(*, dimensions: int = 16) -> Iterator[OpenAIStub]:
    """A server on a free port of the loopback interface."""
    # Listening before the server runs: a client that comes too early waits instead of being refused.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stub = OpenAIStub(url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1", dimensions=dimensions)
        routes = [
            Route("/v1/chat/completions", stub.chat, methods=["POST"]),
            Route("/v1/embeddings", stub.embeddings, methods=["POST"]),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes), log_config=None, log_level="critical", lifespan="off", timeout_graceful_shutdown=0
        )
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]}, name="openai-stub", daemon=True)
        thread.start()
        try:
            yield stub
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def stub_server() -> Iterator[OpenAIStub]:
    """The server of one module's tests; a `conftest.py` that imports it and `stub` offers both."""
    with openai_stub() as running:
        yield running


@pytest.fixture
def stub(stub_server: OpenAIStub) -> OpenAIStub:
    """The same, with nothing left of the test before."""
    stub_server.reset()
    return stub_server


def vector_of(text: str, dimensions: int) -> npt.NDArray[np.float32]:
    """The vector the stub gives a text: the same in every run, not of unit length."""
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    return (3 * np.random.default_rng(seed).standard_normal(dimensions)).astype(np.float32)


def _embeddings(request: Mapping[str, Any], dimensions: int) -> dict[str, Any]:
    vectors = [vector_of(text, dimensions) for text in request["input"]]
    if request.get("encoding_format") == "base64":
        encoded: list[Any] = [base64.b64encode(vector.astype("<f4").tobytes()).decode() for vector in vectors]
    else:
        encoded = [vector.tolist() for vector in vectors]
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(encoded)]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return {"object": "list", "data": data, "model": request["model"], "usage": usage}


def _completion(reply: Reply) -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(reply.pieces)}
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "stub", "choices": [choice]}
    usage = {**reply.usage, "total_tokens": sum(reply.usage.values())} if reply.usage is not None else None
    return {**body, "usage": usage}


def _event(choices: list[dict[str, Any]], usage: Mapping[str, int] | None = None) -> str:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "stub", "choices": choices}
    return f"data: {json.dumps({**chunk, 'usage': usage})}\n\n"


def _raw(reply: Reply) -> Response:
    return Response(reply.body, reply.status, dict(reply.headers), reply.media_type)


async def _opened(gate: Event | None) -> None:
    while gate is not None and not gate.is_set():  # noqa: ASYNC110 - another thread sets it
        await asyncio.sleep(_POLL_SECONDS)
