"""Logging that a test may set up as it likes."""

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

__all__ = ["logging_as_before"]

_TOUCHED = ("httpx", "kombu", "openai", "chromadb", "celery.app.trace", "uvicorn", "uvicorn.error")


@contextmanager
def logging_as_before() -> Iterator[None]:
    """Logging belongs to the process, and so to the tests that come after."""
    root, touched = logging.getLogger(), [logging.getLogger(name) for name in _TOUCHED]
    handlers, level, levels = root.handlers[:], root.level, [logger.level for logger in touched]
    before = structlog.get_config()
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning = hooks
        structlog.configure(**before)
        root.handlers[:] = handlers
        root.setLevel(level)
        for logger, old in zip(touched, levels, strict=True):
            logger.setLevel(old)
