"""Runs the supervisor over small stand-in parts: ``python -m tests.support.supervise FOLDER < parts.json``.

Each part is a piece of Python that runs in FOLDER and is ready once the file ``NAME.ready`` is there.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console

from ragline.cli.supervisor.parts import Limits, Part, StopOrder
from ragline.cli.supervisor.supervisor import Supervisor
from tests.support.waiting import wait_until

__all__ = ["DUTIFUL", "StandIn", "SupervisorProcess", "alive"]

DUTIFUL = """
import os, pathlib, signal, sys, time
name = sys.argv[1]
def stop(number, frame):
    with open("stopped", "a") as stopped:
        stopped.write(f"{name}\\n")
    print("bye", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("hello", flush=True)
with open(f"{name}.pids", "a") as pids:
    pids.write(f"{os.getpid()}\\n")
pathlib.Path(f"{name}.ready").touch()
while True:
    time.sleep(60)
"""
"""Says hello, notes its process id, is ready, and ends on SIGTERM, noting its turn."""


_QUICK = {"start": 10.0, "stop": 5.0, "stop_hard": 5.0, "backoff": 0.01}
_READY = "everything is ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """A part to run; `code` finds its name in ``sys.argv[1]``."""

    name: str
    code: str = DUTIFUL
    needs: tuple[str, ...] = ()
    stop_order: int = StopOrder.WORK
    stop_signals: tuple[int, ...] = (signal.SIGTERM,)


class SupervisorProcess:
    """A supervisor in a process of its own, killed at the end of the block if it still runs.

    Parameters
    ----------
    terminal
        Where it writes instead of the file that `output` reads.
    limits_seconds
        Fields of `Limits` in seconds; by default it is impatient.
    """

    def __init__(
        self, folder: Path, parts: Sequence[StandIn], *, terminal: int | None = None, **limits_seconds: float
    ) -> None:
        self._folder = folder
        self._console = folder / "console.txt"
        spec = {"parts": [asdict(part) for part in parts], "limits": {**_QUICK, **limits_seconds}}
        (folder / "spec.json").write_text(json.dumps(spec))
        with self._console.open("wb") as console:
            command = [sys.executable, "-m", __name__, str(folder)]
            # What pytest put on the path, its child needs too.
            env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            output = console if terminal is None else terminal
            self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.popen.kill()
        self.popen.wait()

    @property
    def output(self) -> str:
        """What it and its parts have said."""
        return self._console.read_text()

    def pids(self, name: str) -> list[int]:
        """Process ids that this part has had, oldest first."""
        path = self._folder / f"{name}.pids"
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait_ready(self) -> None:
        """Return once all parts are ready."""
        wait_until(lambda: _READY in self.output or self.popen.poll() is not None, timeout_seconds=20)
        assert self.popen.poll() is None, self.output


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def _limits(seconds: Mapping[str, float]) -> Limits:
    return Limits(
        start=timedelta(seconds=seconds["start"]),
        stop=timedelta(seconds=seconds["stop"]),
        stop_hard=timedelta(seconds=seconds["stop_hard"]),
        backoff=timedelta(seconds=seconds["backoff"]),
    )


def _part(spec: Mapping[str, object], folder: Path) -> Part:
    name = str(spec["name"])
    stand_in = StandIn(**spec)  # type: ignore[arg-type] # JSON of the very same class
    return Part(
        name=name,
        argv=(sys.executable, "-c", stand_in.code, name),
        ready=(folder / f"{name}.ready").exists,
        needs=tuple(stand_in.needs),
        stop_order=StopOrder(stand_in.stop_order),
        stop_signals=tuple(signal.Signals(number) for number in stand_in.stop_signals),
    )


def _main(folder: Path) -> int:
    os.chdir(folder)
    spec = json.loads((folder / "spec.json").read_text())
    console = Console(width=200)
    supervisor = Supervisor(
        parts=[_part(part, folder) for part in spec["parts"]],
        log_dir=folder / "logs",
        console=console,
        on_ready=lambda: console.print(_READY),
        limits=_limits(spec["limits"]),
    )
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
