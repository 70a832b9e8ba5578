"""The usual way to hand work to Celery from FastAPI, the API's peer in `submit.py`, and servers of next to nothing."""

import os
from pathlib import Path
from shutil import copyfileobj
from uuid import uuid4

import redis.asyncio
from celery import Celery
from fastapi import FastAPI, UploadFile
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

__all__ = ["create_floor", "create_nothing", "create_peer"]


class _Question(BaseModel):
    question: str
    top_k: int = 3


class _Accepted(BaseModel):
    task_id: str
    status: str = "Task submitted"


def create_floor() -> Starlette:
    """Reads a body and pushes it on a list: no accepting of work on this machine can cost less."""
    client = redis.asyncio.Redis.from_url(os.environ["REDIS_URL"])

    async def push(request: Request) -> Response:
        await client.lpush("floor", await request.body())  # type: ignore[misc] # redis-py's types
        return PlainTextResponse("ok", 202)

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok")

    return Starlette(routes=[Route("/healthz", healthz), Route("/{path:path}", push, methods=["POST"])])


def create_nothing() -> Starlette:
    """Answers at once, whatever it is asked."""

    async def answer(request: Request) -> Response:
        await request.body()
        return PlainTextResponse("ok")

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])


def create_peer() -> FastAPI:
    """Routes that wait for `apply_async` in FastAPI's thread pool, connected before the first request."""
    url, folder = os.environ["REDIS_URL"], Path(os.environ["UPLOAD_ROOT"])
    celery = Celery("peer", broker=url, backend=url)
    celery.conf.broker_connection_retry_on_startup = True
    app = FastAPI()

    @celery.task(name="peer.answer")  # type: ignore[untyped-decorator]
    def answer(_question: str, _top_k: int) -> None: ...

    @celery.task(name="peer.ingest")  # type: ignore[untyped-decorator]
    def ingest(_path: str) -> None: ...

    @app.post("/questions", status_code=202)
    def ask(body: _Question) -> _Accepted:
        return _Accepted(task_id=answer.apply_async((body.question, body.top_k), queue="peer").id)

    @app.post("/documents", status_code=202)
    def upload(file: UploadFile) -> _Accepted:
        path = folder / f"{uuid4()}.pdf"
        with path.open("wb") as kept:
            copyfileobj(file.file, kept)
        return _Accepted(task_id=ingest.apply_async((str(path),), queue="peer").id)

    @app.get("/healthz")
    def healthz() -> str:
        answer.apply_async(("warm", 3), queue="warm")
        return "ok"

    return app
