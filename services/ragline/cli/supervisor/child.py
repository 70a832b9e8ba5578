"""One part's process: its starts, its deaths and the signals it gets."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from ragline.cli.supervisor import tether
from ragline.cli.supervisor.parts import Limits, Part

__all__ = ["Child"]


class Child:
    """A part as it runs now.

    Parameters
    ----------
    log
        File that its output is appended to. It writes there itself: nothing is lost when the supervisor dies, and a
        terminal that is held up holds up nobody else.
    limits
        What counts as a quick death, and how long to pause after one.

    Attributes
    ----------
    ready
        Whether its latest process ever was ready.
    quick_deaths
        How many of its processes in a row died soon after their start.
    """

    def __init__(self, part: Part, *, log: Path, limits: Limits) -> None:
        self.part = part
        self.log = log
        self.ready = False
        self.quick_deaths = 0
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._restart_at = 0.0

    @property
    def due(self) -> bool:
        """Whether it does not run and has paused long enough."""
        return self._process is None and time.monotonic() >= self._restart_at

    @property
    def pause_seconds(self) -> float:
        """How long it pauses before its next start."""
        return self._limits.backoff.total_seconds() * 2.0 ** max(self.quick_deaths - 1, 0)

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process else None

    def bury(self) -> int | None:
        """The exit status of its process if that ended since the last call; what it left behind is killed."""
        process = self._process
        if process is None or process.poll() is None:
            return None
        self._signal_group(process.pid, signal.SIGKILL)
        self._process = None
        lived_seconds = time.monotonic() - self._started_at
        quick = lived_seconds < self._limits.quick_death.total_seconds()
        self.quick_deaths = self.quick_deaths + 1 if quick else 0
        self._restart_at = time.monotonic() + self.pause_seconds
        return process.returncode

    def escalate(self, rank: int) -> None:
        """Send the stop signal of this rank, or SIGKILL to it and all its descendants after the last one."""
        if self._process is None:
            return
        if rank < len(self.part.stop_signals):
            # To the process alone: it knows best how to end its own children.
            self._process.send_signal(self.part.stop_signals[rank])
        else:
            self._signal_group(self._process.pid, signal.SIGKILL)

    def start(self) -> None:
        """Start its process in a group of its own, so that Ctrl-C in the terminal reaches the supervisor alone."""
        tied = (sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), *self.part.argv)
        self.ready = False
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                tied,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.part.env},
                process_group=0,
            )
        self._started_at = time.monotonic()

    @staticmethod
    def _signal_group(group: int, number: signal.Signals) -> None:
        # macOS answers EPERM, not ESRCH, for a group of zombies.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
