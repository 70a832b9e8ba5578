"""Log files of the parts, and their lines on the terminal."""

import contextlib
import itertools
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.text import Text

from ragline.cli.supervisor.parts import Part

__all__ = ["LogFollower", "open_logs", "tail"]

_ROTATE_BYTES = 10 * 2**20
"""A log of this size becomes the old one at the next start; with one old log, a part keeps about twice as much."""

_TAIL_BYTES = 16 * 2**10
"""Read from the end of a log to find its last lines."""

_POLL_SECONDS = 0.1
"""Between looks at the files: soon enough for a reader, and nothing to notice for the CPU."""

_STYLES = ("cyan", "green", "yellow", "magenta", "blue", "bright_red", "bright_cyan", "bright_green")


def open_logs(parts: Sequence[Part], log_dir: Path) -> dict[str, Path]:
    """The log file of each part; one that has grown too large is kept as ``.log.1`` and begun anew."""
    log_dir.mkdir(parents=True, exist_ok=True)
    paths = {part.name: log_dir / f"{part.name}.log" for part in parts}
    for path in paths.values():
        if path.exists() and path.stat().st_size > _ROTATE_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
        path.touch()
    return paths


def tail(path: Path, *, lines: int = 15) -> str:
    """The last lines of a log."""
    with path.open("rb") as log:
        log.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
        text = log.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])


@dataclass(slots=True, kw_only=True)
class _Followed:
    path: Path
    shown: re.Pattern[str]
    prefix: Text
    offset: int
    rest: bytes = field(default=b"")

    def new_lines(self, *, last: bool) -> list[str]:
        with self.path.open("rb") as log:
            log.seek(self.offset)
            fresh = log.read()
        self.offset += len(fresh)
        *lines, self.rest = (self.rest + fresh).split(b"\n")
        if last and self.rest:
            lines.append(self.rest)
        return [text for line in lines if self.shown.search(text := line.decode(errors="replace").rstrip("\r"))]


class LogFollower:
    """Copies what the parts write from now on to the terminal, each line behind the coloured name of its part.

    Parameters
    ----------
    logs
        Log file of each part.
    """

    def __init__(self, parts: Sequence[Part], logs: Mapping[str, Path], console: Console) -> None:
        width = max(len(part.name) for part in parts)
        self._console = console
        self._followed = [
            _Followed(
                path=logs[part.name],
                shown=part.shown,
                prefix=Text(f"{part.name:<{width}} │ ", style),
                offset=logs[part.name].stat().st_size,
            )
            for part, style in zip(parts, itertools.cycle(_STYLES), strict=False)
        ]
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="log follower", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()
        self._show(last=True)

    def _follow(self) -> None:
        while not self._closed.wait(_POLL_SECONDS):
            self._show(last=False)

    def _show(self, *, last: bool) -> None:
        for followed in self._followed:
            # Without a terminal, or without its file, a part runs on all the same.
            with contextlib.suppress(OSError):
                for line in followed.new_lines(last=last):
                    self._console.print(Text.assemble(followed.prefix, Text.from_ansi(line)), soft_wrap=True)
