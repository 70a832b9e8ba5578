"""The HTTP API: ``uvicorn ragline.api.main:create_app --factory``."""

import asyncio
import gc
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
from ragline.api.openapi import DescribedApi
from ragline.api.problems import install_problem_handlers
from ragline.common.config import ApiConfig, load_config
from ragline.common.logging import configure_logging
from ragline.common.tracing import start_tracing, stop_tracing

__all__ = ["create_app"]

_DESCRIPTION = """Upload PDFs, ask questions, get answers that cite document and page.

Every error is a problem (RFC 9457) with a stable `code`; `GET /errors/{code}` says what to do about it. What is no
HTTP is answered with 400, a head over 64 KB with 431, and a method that an address does not take with 405. Under
`/v1/chat`, `/v1/embeddings` and `/v1/models` a problem also has a member `error` in OpenAI's shape.
"""


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
    app = DescribedApi(
        title="Ragline",
        description=_DESCRIPTION,
        version=version("ragline"),
        lifespan=_lifespan(settings),
        docs_url="/docs" if settings.docs_ui else None,
        redoc_url="/redoc" if settings.docs_ui else None,
        swagger_ui_oauth2_redirect_url=None,
        # A redirect would lead to whatever host the request names.
        redirect_slashes=False,
    )
    install_problem_handlers(app)
    _add_middleware(app, settings)
    # In the order in which addresses are compared with a request's: the busy ones first.
    for module in (collections, documents, jobs, openai, tasks, rag, health):
        app.router.routes.extend(module.router.routes)
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
        # Here, not earlier: gunicorn forks first.
        start_tracing(config, service="ragline-api")
        app.state.context = ApiContext(config)
        app.state.context.start()
        # What is there now stays: the collector need not look at all of it again and again, between requests.
        gc.collect()
        gc.freeze()
        yield
        await app.state.context.close()
        await asyncio.to_thread(stop_tracing)

    return lifespan
