"""The HTTP API: ``uvicorn ragline.api.main:create_app --factory``."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ragline.api.access import AccessMiddleware
from ragline.api.context import ApiContext
from ragline.api.handlers import collections, documents, health, jobs, openai, rag, tasks
from ragline.api.middleware import (
    BodyLimitMiddleware,
    CrossOriginMiddleware,
    DefectMiddleware,
    RequestContextMiddleware,
    SecurityHeadersMiddleware,
)
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
        docs_url="/docs" if settings.docs_ui else None,
        redoc_url="/redoc" if settings.docs_ui else None,
        swagger_ui_oauth2_redirect_url=None,
        responses={"4XX": _PROBLEM, "5XX": _PROBLEM},
        generate_unique_id_function=lambda route: route.name,
    )
    install_problem_handlers(app)
    _add_middleware(app, settings)
    # In the order in which addresses are compared with a request's: the busy ones first.
    for module in (collections, documents, jobs, openai, tasks, rag, health):
        app.include_router(module.router)
    return app


def _add_middleware(app: FastAPI, config: ApiConfig) -> None:
    """From the inside out: each of them also works on the answers of those before it.

    So a refused or failed request has its ids, and a page of an allowed origin can read why. A preflight, which
    carries no key, is answered before one is asked for, and who has no key sends no body.
    """
    app.add_middleware(BodyLimitMiddleware, max_upload_bytes=config.max_upload_bytes)
    app.add_middleware(AccessMiddleware)
    app.add_middleware(DefectMiddleware)
    if config.allowed_origins:
        app.add_middleware(CrossOriginMiddleware, origins=config.allowed_origins)
    app.add_middleware(SecurityHeadersMiddleware)
    app.add_middleware(RequestContextMiddleware)
    if config.proxy_networks:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(config.proxy_networks))


def _lifespan(config: ApiConfig) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.context = ApiContext(config)
        app.state.context.start()
        yield
        await app.state.context.close()

    return lifespan
