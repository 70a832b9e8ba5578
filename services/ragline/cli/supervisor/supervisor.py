"""The supervisor: starts the parts, looks after them, ends them."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from rich.console import Console
from rich.text import Text

from ragline.cli.supervisor.child import Child
from ragline.cli.supervisor.logs import LogFollower, open_logs, tail
from ragline.cli.supervisor.parts import Limits, Part
from ragline.cli.supervisor.stopping import stop_children

__all__ = ["Supervisor"]

_TICK_SECONDS = 0.05
"""Between looks at the parts: 20 times a second costs less than 1 % of a core."""

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _GaveUp(Exception):
    """The service cannot go on."""

    def __init__(self, reason: str, culprits: Sequence[Child]) -> None:
        super().__init__(reason)
        self.culprits = culprits


class Supervisor:
    """Runs parts as child processes until it is told to stop.

    Parameters
    ----------
    parts
        What to run.
    log_dir
        Where the log of each part is kept.
    console
        Where people read.
    on_ready
        Called once, when all parts are ready for the first time.
    show_logs
        Whether the terminal shows the lines of the parts.
    """

    def __init__(
        self,
        *,
        parts: Sequence[Part],
        log_dir: Path,
        console: Console,
        on_ready: Callable[[], None] = lambda: None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        show_logs: bool = True,
    ) -> None:
        self._parts = parts
        self._log_dir = log_dir
        self._console = console
        self._on_ready = on_ready
        self._limits = limits
        self._show_logs = show_logs
        self._stop_requests = 0
        self._children: list[Child] = []

    def run(self) -> int:
        """Run until told to stop; to be called from a thread that lives as long as the process (see `tether`).

        Returns
        -------
        int
            Exit status: 0 when it was told to stop, 1 when a part failed.
        """
        logs = open_logs(self._parts, self._log_dir)
        self._children = [Child(part, log=logs[part.name], limits=self._limits) for part in self._parts]
        follower = LogFollower(self._parts, logs, self._console) if self._show_logs else nullcontext()
        with self._listening(), follower:
            try:
                return self._serve()
            finally:
                self._stop()

    def stop(self) -> None:
        """Ask it to stop; from any thread. A second time: without waiting for work in hand."""
        self._stop_requests += 1

    @contextmanager
    def _listening(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _look_after(self) -> None:
        ready = {child.part.name for child in self._children if child.ready}
        for child in self._children:
            status = child.bury()
            if status is not None:
                self._report_death(child, status)
            elif child.due and ready.issuperset(child.part.needs):
                child.start()
            elif child.pid and not child.ready and child.part.ready():
                child.ready = True

    def _on_signal(self, *_: object) -> None:
        # Only a count: a handler interrupts code that may hold a lock.
        self.stop()

    def _report_death(self, child: Child, status: int) -> None:
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        if child.quick_deaths >= self._limits.max_quick_deaths:
            raise _GaveUp(f"{child.part.name} died {child.quick_deaths} times in a row ({how})", [child])
        self._say(f"{child.part.name} died ({how}); next start in {child.pause_seconds:g} s", style="bold red")

    def _say(self, text: str, *, style: str = "bold") -> None:
        # A terminal that is gone must not keep the parts from being stopped in order.
        with suppress(OSError):
            self._console.print(Text(text, style), soft_wrap=True)

    def _serve(self) -> int:
        try:
            if self._start():
                # Mostly a greeting, and a terminal that is gone is no reason to end the service.
                with suppress(OSError):
                    self._on_ready()
                self._watch()
        except _GaveUp as failure:
            self._say(f"{failure}; giving up", style="bold red")
            for child in failure.culprits:
                self._say(f"Last lines of {child.part.name} ({child.log}):")
                self._say(tail(child.log), style="")
            return 1
        return 0

    def _start(self) -> bool:
        deadline = time.monotonic() + self._limits.start.total_seconds()
        while not self._stop_requests:
            self._look_after()
            if all(child.ready for child in self._children):
                return True
            if time.monotonic() > deadline:
                missing = [child for child in self._children if not child.ready]
                names = ", ".join(child.part.name for child in missing)
                raise _GaveUp(f"Not ready after {self._limits.start.total_seconds():g} s: {names}", missing)
            time.sleep(_TICK_SECONDS)
        return False

    def _stop(self) -> None:
        if any(child.pid for child in self._children):
            self._say("Stopping; work in hand is finished first (Ctrl-C again: do not wait)")
        stop_children(self._children, limits=self._limits, stop_requests=lambda: self._stop_requests)

    def _watch(self) -> None:
        while not self._stop_requests:
            self._look_after()
            time.sleep(_TICK_SECONDS)
