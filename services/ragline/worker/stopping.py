"""Puts back what still runs when a worker that was told to stop has had its time."""

import os
import signal
import threading

import structlog

__all__ = ["StopTimer"]

logger = structlog.get_logger(__name__)


class StopTimer:
    """Turns a warm shutdown into a cold one, which requeues the messages of running tasks, once.

    Parameters
    ----------
    seconds
        How long a warm shutdown may take; 0: as long as it likes.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer: threading.Timer | None = None

    def shutting_down(self, *, how: str, **_: object) -> None:
        """Start the timer at the first warm request; a cold one makes it needless. Takes Celery's signal."""
        if how == "Cold" and self._timer is not None:
            self._timer.cancel()
        elif how == "Warm" and self._timer is None and self._seconds:
            self._timer = threading.Timer(self._seconds, _quit, args=(self._seconds,))
            self._timer.daemon = True
            self._timer.start()


def _quit(seconds: float) -> None:
    logger.warning("steps did not hand back in time", seconds=seconds, next="they are put back on their queue")
    os.kill(os.getpid(), signal.SIGQUIT)
