"""`ragline up` and `ragline demo` as a user runs them: every part is the real one."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ragline.cli.supervisor.data_folder import running_service
from tests.support.servers import free_port
from tests.support.supervise import alive
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SAMPLES = Path(__file__).parents[3] / "samples"
RESTART_SECONDS = 10.0
"""The promise on two idle cores; a machine that is busy with other tests gets twice as much."""


@dataclass(frozen=True)
class Laptop:
    """A folder and a set of ports; all its processes bear a mark in their environment."""

    folder: Path
    mark: str
    env: dict[str, str]

    @contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-c", "from ragline.cli.main import app; app()", *words]
        with self._console(words[0]).open("wb") as console:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, *words: str) -> tuple[int, str]:
        with self.started(*words) as command:
            status = command.wait(120)
        return status, self.said(words[0])

    def said(self, command: str) -> str:
        return self._console(command).read_text()

    def processes(self) -> list[int]:
        pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        assert pids
        return [pid for pid in pids if self._owns(pid) and alive(pid)]

    def _console(self, command: str) -> Path:
        return self.folder / f"{command}.txt"

    def _owns(self, pid: int) -> bool:
        # Valkey writes its title over its environment.
        title = f"127.0.0.1:{self.env['REDIS_PORT']}"
        try:
            environment, command = (Path(f"/proc/{pid}/{name}").read_bytes() for name in ("environ", "cmdline"))
        except OSError:
            return False
        return self.mark.encode() in environment or title.encode() in command


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A laptop on which the demo has run once."""
    mark = uuid.uuid4().hex
    ports = {name: str(free_port()) for name in ("API_PORT", "REDIS_PORT", "CHROMA_PORT", "FLOWER_PORT")}
    path = os.pathsep.join(sys.path)
    laptop = Laptop(
        folder=tmp_path_factory.mktemp("laptop"),
        mark=mark,
        env={**os.environ, **ports, "PYTHONPATH": path, "RAGLINE_TEST_MARK": mark, "COLUMNS": "150"},
    )
    status, console = laptop.run("demo", "--exit", "--samples", str(SAMPLES))
    assert status == 0, console
    assert "employee-handbook.pdf, page 19" in console
    yield laptop
    for pid in laptop.processes():
        os.kill(pid, signal.SIGKILL)


def test_the_demo_leaves_nothing_behind(laptop: Laptop) -> None:
    assert laptop.processes() == []
    assert running_service(laptop.folder / "storage") is None


def test_a_killed_service_leaves_no_process_and_comes_back_with_its_documents(laptop: Laptop) -> None:
    with laptop.started("up") as first:
        wait_until(lambda: "Ragline is ready" in laptop.said("up") or first.poll() is not None, timeout_seconds=60)
        # The supervisor, two stores, the API, four workers and the children of the prefork worker.
        assert len(laptop.processes()) >= 10, laptop.said("up")
        first.kill()
        wait_until(lambda: laptop.processes() == [], timeout_seconds=5)
    began = time.monotonic()
    with laptop.started("up", "--flower") as second:
        wait_until(lambda: "Flower" in laptop.said("up"), timeout_seconds=2 * RESTART_SECONDS)
        print(f"restart to ready: {time.monotonic() - began:.1f} s")  # noqa: T201 - a measurement for the log
        status, answer = laptop.run("ask", "-c", "samples", "How long is the warranty of the Halden V3?")
        assert (status, "[1] device-manual.pdf, page 11" in answer) == (0, True), answer
        status, report = laptop.run("verify", "samples")
        assert (status, "samples: consistent" in report) == (0, True), report
        status, report = laptop.run("ask", "-c", "samples", "Who won the chess tournament in Reykjavik in 1972?")
        assert (status, "no evidence" in report) == (4, True), report
        status, demo = laptop.run("demo", "--exit", "--samples", str(SAMPLES))
        assert (status, "Using the service that runs already" in demo) == (0, True), demo
        second.terminate()
        assert second.wait(40) == 0
    wait_until(lambda: laptop.processes() == [], timeout_seconds=5)
