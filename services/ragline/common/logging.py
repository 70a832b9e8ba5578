"""structlog for our code and, through it, for every library that uses `logging`, warns, prints or fails."""

import logging
import os
import sys
import threading
from types import TracebackType
from typing import Literal, TextIO

import structlog
from typing_extensions import override

from ragline.common.printed import PrintedLines, real_stream

__all__ = ["begin_logging", "configure_logging", "note_job"]

logger = structlog.get_logger(__name__)

_TRACEBACKS = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
"""Without local variables: they hold document text, questions and keys."""

_NOISY = (
    "celery.app.trace",
    "celery.worker.strategy",
    "chromadb",
    "httpcore",
    "httpx",
    "httpx2",
    "kombu",
    "multiprocessing",
    "openai",
)
"""Libraries whose INFO says nothing that our own one line per request and step does not say."""


def begin_logging() -> None:
    """Log from the first moment of a container's process on, before its settings are known.

    What is printed becomes log lines too, unless ``LOG_FORMAT`` asks for text: Celery, kombu and gunicorn print.
    """
    for_people = os.environ.get("LOG_FORMAT") == "console"
    if not for_people:
        sys.stdout, sys.stderr = PrintedLines(sys.stdout, logging.INFO), PrintedLines(sys.stderr, logging.WARNING)
    configure_logging(level="INFO", log_format="console" if for_people else "json")


def configure_logging(*, level: str, log_format: Literal["json", "console"], stream: TextIO | None = None) -> None:
    """Send all logs of this process through one pipe: those of libraries, warnings and uncaught exceptions too.

    Parameters
    ----------
    level
        Lowest level that is logged, such as ``INFO``.
    log_format
        ``json``: one object a line; ``console``: coloured text.
    stream
        Where they go; standard error by default.
    """
    stream = stream or real_stream(sys.stderr)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    final: list[structlog.typing.Processor] = (
        [structlog.processors.ExceptionRenderer(_TRACEBACKS), structlog.processors.JSONRenderer()]
        if log_format == "json"
        else [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        _LineFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, *final],
        logger_factory=_OwnLogger,
        cache_logger_on_first_use=True,
    )
    logging.captureWarnings(capture=True)
    _catch_strays()
    for own in ("uvicorn", "uvicorn.error"):
        logging.getLogger(own).handlers.clear()
        logging.getLogger(own).propagate = True
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))


def note_job(job_id: str, document_id: str | None) -> None:
    """From now on the lines of this request or step name the job, and the document if it is about one."""
    structlog.contextvars.bind_contextvars(job_id=job_id, **({"document_id": document_id} if document_id else {}))


class _FinishedLine(logging.LogRecord):
    """A line of ours, which structlog has made already."""


class _LineFormatter(structlog.stdlib.ProcessorFormatter):
    """Makes lines of the records of libraries."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        return str(record.msg) if isinstance(record, _FinishedLine) else super().format(record)


class _OwnLogger:
    """What structlog gives lines of ours to.

    They leave by the handlers of `logging`, but without what that finds out about each record (its frame, twice its
    time and format): for a request that costs more than all else about its line.
    """

    def __init__(self, name: str = "root") -> None:
        self.name = name
        self.disabled = False
        self._root = logging.getLogger()

    def getEffectiveLevel(self) -> int:  # noqa: N802 - as `filter_by_level` asks
        return self._root.level

    def debug(self, line: str) -> None:
        self._write(logging.DEBUG, line)

    def info(self, line: str) -> None:
        self._write(logging.INFO, line)

    def warning(self, line: str) -> None:
        self._write(logging.WARNING, line)

    def error(self, line: str) -> None:
        self._write(logging.ERROR, line)

    def critical(self, line: str) -> None:
        self._write(logging.CRITICAL, line)

    def _write(self, level: int, line: str) -> None:
        self._root.handle(_FinishedLine(self.name, level, "", 0, line, None, None))


def _catch_strays() -> None:
    """Log exceptions that reach nobody; hooks that somebody else has set stay."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _log_uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _log_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _log_unraisable


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logger.critical("process failed by a defect", next="it ends", exc_info=(kind, error, trace))


def _log_thread(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is None or isinstance(failure.exc_value, SystemExit):
        return
    name = failure.thread.name if failure.thread else ""
    error = failure.exc_value.with_traceback(failure.exc_traceback)
    logger.critical("thread failed by a defect", next="the process goes on without it", thread=name, exc_info=error)


def _log_unraisable(failure: "sys.UnraisableHookArgs") -> None:
    where = getattr(failure.object, "__qualname__", type(failure.object).__qualname__)
    error = failure.exc_value
    logger.error("exception that nobody could catch", next="nothing: it is lost", where=where, exc_info=error)
