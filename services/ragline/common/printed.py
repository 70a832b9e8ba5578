"""What a process prints, as log lines."""

import io
import threading
from typing import TextIO

import structlog
from typing_extensions import override

__all__ = ["PrintedLines", "real_stream"]

logger = structlog.get_logger(__name__)


class PrintedLines(io.TextIOBase):
    """Takes the place of a standard stream: each line that is printed to it is logged.

    Parameters
    ----------
    stream
        The stream in whose place it stands.
    level
        Of the log lines, as `logging` counts.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, stream: TextIO, level: int) -> None:
        super().__init__()
        self.stream = real_stream(stream)
        self._level = level
        self._local = _Unfinished()

    @override
    def fileno(self) -> int:
        return self.stream.fileno()

    @override
    def flush(self) -> None:
        rest, self._local.text = self._local.text, ""
        self._log(rest)

    @override
    def isatty(self) -> bool:
        return False

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, text: str) -> int:
        if self._local.logging:
            # A log line that cannot be written says so by printing: that must not be logged again.
            return self.stream.write(text)
        *lines, self._local.text = (self._local.text + text).split("\n")
        for line in lines:
            self._log(line)
        return len(text)

    def _log(self, line: str) -> None:
        if not line.strip():
            return
        self._local.logging = True
        try:
            logger.log(self._level, "printed", text=line.rstrip())
        finally:
            self._local.logging = False


class _Unfinished(threading.local):
    """Of each thread: the line it is printing, and whether it is logging one."""

    text = ""
    logging = False


def real_stream(stream: TextIO) -> TextIO:
    """The stream itself, or the one that it stands in for."""
    return stream.stream if isinstance(stream, PrintedLines) else stream
