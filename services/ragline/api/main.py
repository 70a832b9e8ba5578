"""The HTTP API: ``uvicorn ragline.api.main:create_app --factory``."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from ragline.api.context import ApiContext
from ragline.api.handlers import collections, documents, health, jobs, rag, tasks
from ragline.api.middleware import BodyLimitMiddleware, RequestContextMiddleware
from ragline.api.problems import PROBLEM_MEDIA_TYPE, Problem, install_problem_handlers
from ragline.common.config import ApiConfig, load_config
from ragline.common.logging import configure_logging

__all__ = ["create_app"]

_PROBLEM = {"description": "A problem", "content": {PROBLEM_MEDIA_TYPE: {}}, "model": Problem}


def create_app(config: ApiConfig | None = None) -> FastAPI:
    """The app, connected to nothing until it starts.

    Parameters
    ----------
    config
        Read from the environment when not given.

    Raises
    ------
    ConfigError
        A setting is wrong.
    """
    settings = config or load_config(ApiConfig)
    configure_logging(level=settings.log_level, log_format=settings.log_format)
    app = FastAPI(
        title="Ragline",
        description="Upload PDFs, ask questions, get answers that cite document and page.",
        version=version("ragline"),
        lifespan=_lifespan(settings),
        responses={"4XX": _PROBLEM, "5XX": _PROBLEM},
        generate_unique_id_function=lambda route: route.name,
    )
    install_problem_handlers(app)
    app.add_middleware(BodyLimitMiddleware, max_upload_bytes=settings.max_upload_bytes)
    app.add_middleware(RequestContextMiddleware)
    for module in (tasks, rag, collections, documents, jobs, health):
        app.include_router(module.router)
    return app


def _lifespan(config: ApiConfig) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.context = ApiContext(config)
        app.state.context.start()
        yield
        await app.state.context.close()

    return lifespan
