"""Entry point of the API in a container: ``python -m ragline.api.server``, gunicorn over uvicorn workers."""

import sys
from math import ceil
from typing import Any, ClassVar

import structlog
from fastapi import FastAPI
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from typing_extensions import override
from uvicorn_worker import UvicornWorker

from ragline.api.connections import BoundedProtocol
from ragline.api.main import create_app
from ragline.common.config import ApiConfig, ConfigError, load_config
from ragline.common.logging import begin_logging, configure_logging
from ragline.stores.objects import ObjectStore

__all__ = ["ApiServer", "ApiWorker", "ServerLogger", "main"]

logger = structlog.get_logger(__name__)

_CLEAN_UP_SECONDS = 5
"""gunicorn waits for that much longer than uvicorn, whose clean-up comes after the last request."""

_KEEP_ALIVE_SECONDS = 95
"""Longer than proxies keep idle connections (Traefik: 90 s), so that none is closed just as they use it."""


class ApiWorker(UvicornWorker):
    """uvicorn under gunicorn; our middleware writes the line for each request."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "access_log": False,
        "http": BoundedProtocol,
        "loop": "uvloop",
        # TRUSTED_PROXIES says which proxies are believed; uvicorn itself would believe any on this machine.
        "proxy_headers": False,
        "ws": "none",
    }


def _worker_class(drain_seconds: int) -> type[ApiWorker]:
    # uvicorn-worker takes settings from its class alone.
    return type(
        "ApiWorker",
        (ApiWorker,),
        {"CONFIG_KWARGS": {**ApiWorker.CONFIG_KWARGS, "timeout_graceful_shutdown": drain_seconds}},
    )


class ServerLogger(Logger):
    """Leaves gunicorn's lines to the pipe that all others go through."""

    @override
    def setup(self, cfg: object) -> None:
        self.error_log.propagate = True


class ApiServer(BaseApplication):
    """gunicorn, set up by our settings instead of its own.

    Parameters
    ----------
    config
        Handed on to every worker.
    """

    def __init__(self, config: ApiConfig) -> None:
        self._config = config
        super().__init__()

    @override
    def load(self) -> FastAPI:
        return create_app(self._config)

    @override
    def load_config(self) -> None:
        host = self._config.api_host
        # gunicorn counts whole seconds.
        drain_seconds = ceil(self._config.drain_seconds)
        settings = {
            "bind": f"[{host}]:{self._config.api_port}" if ":" in host else f"{host}:{self._config.api_port}",
            "control_socket_disable": True,
            "graceful_timeout": drain_seconds + _CLEAN_UP_SECONDS,
            "keepalive": _KEEP_ALIVE_SECONDS,
            "logger_class": ServerLogger,
            "proc_name": "ragline-api",
            "worker_class": _worker_class(drain_seconds),
            # In memory: a worker that waits for a slow disk looks dead.
            "worker_tmp_dir": "/dev/shm",  # noqa: S108 - the file has no name there
            "workers": self._config.web_concurrency,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)


def main() -> int:
    """Serve until told to stop.

    Returns
    -------
    int
        Exit status: 2 for a wrong setting.
    """
    try:
        config = load_config(ApiConfig)
        # Found here, once: a worker that cannot start would be started again and again.
        ObjectStore(config.object_store_url)
    except ConfigError as error:
        logger.critical("not started", reason=str(error), next="the API ends")
        return 2
    configure_logging(level=config.log_level, log_format=config.log_format)
    ApiServer(config).run()
    return 0


if __name__ == "__main__":
    begin_logging()
    sys.exit(main())
