"""The API alone with a Redis of its own: on the server of a container, and on the one of `ragline up`."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.support.servers import Process, free_port, python, valkey_server

__all__ = ["SERVERS", "ApiAlone", "running_api", "serve_command"]

SERVERS = ("gunicorn", "uvicorn")
"""What a container runs, and what `ragline up` runs."""

_SOCKET_SECONDS = 10


@dataclass(kw_only=True)
class ApiAlone:
    """A running API and where it keeps things."""

    process: Process
    valkey: Process
    redis_url: str
    port: int
    client: httpx2.Client
    objects: Path

    def connect(self) -> socket.socket:
        """A raw connection to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=_SOCKET_SECONDS)

    def memory_bytes(self, field: str = "VmRSS") -> int:
        """Memory of the process that answers; `VmHWM` is the most it ever had."""
        pid = self.process.popen.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        status = Path(f"/proc/{children[0] if children else pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith(f"{field}:")]
        return int(line.split()[1]) * 1024


@contextmanager
def running_api(folder: Path, server: str, settings: Mapping[str, str] | None = None) -> Iterator[ApiAlone]:
    """Start one of `SERVERS`; `settings` are environment variables."""
    port, objects = free_port(), folder / "objects"
    with ExitStack() as exits:
        redis_url, valkey = exits.enter_context(valkey_server(folder / "valkey"))
        (folder / "uploads").mkdir()
        environment = {
            "API_PORT": str(port),
            "LOG_FORMAT": "json",
            "OBJECT_STORE_URL": f"file://{objects}",
            "RATE_LIMIT_GENERAL_PER_MINUTE": "0",
            "RATE_LIMIT_RAG_PER_MINUTE": "0",
            "REDIS_URL": redis_url,
            "UPLOAD_ROOT": str(folder / "uploads"),
            **(settings or {}),
        }
        command = python("-m", "ragline.api.server") if server == "gunicorn" else serve_command(port)
        process = Process(command, log=folder / "api.log", env=environment)
        exits.callback(process.stop)
        client = exits.enter_context(httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60))
        process.wait_ready(lambda: _lives(client))
        yield ApiAlone(process=process, valkey=valkey, redis_url=redis_url, port=port, client=client, objects=objects)


def serve_command(port: int) -> list[str]:
    """The server of `ragline up` on this port."""
    protocol = ("--http", "ragline.api.connections:BoundedProtocol", "--ws", "none")
    app = ("ragline.api.main:create_app", "--factory")
    return python("-m", "uvicorn", *app, "--port", str(port), "--no-access-log", "--no-proxy-headers", *protocol)


def _lives(client: httpx2.Client) -> bool:
    try:
        return client.get("/healthz").is_success
    except httpx2.HTTPError:
        return False
