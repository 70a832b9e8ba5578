"""A laptop on which `ragline` is typed in as a user does it: every part is the real one."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import free_port
from tests.support.supervise import alive

__all__ = ["Laptop", "new_laptop"]


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


def new_laptop(folder: Path) -> Laptop:
    """A laptop with free ports whose service lives in a folder."""
    mark = uuid.uuid4().hex
    names = ("API_PORT", "REDIS_PORT", "CHROMA_PORT", "FLOWER_PORT", "OBSERVER_PORT")
    ports = {name: str(free_port()) for name in names}
    path = os.pathsep.join(sys.path)
    env = {**os.environ, **ports, "PYTHONPATH": path, "RAGLINE_TEST_MARK": mark, "COLUMNS": "150"}
    return Laptop(folder=folder, mark=mark, env=env)
