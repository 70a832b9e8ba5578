"""Spans on their way out of a process: a bounded queue and one thread, so that no collector ever holds up work."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

import structlog

from ragline.common.spans import Span

__all__ = ["Outbox", "Send"]

logger = structlog.get_logger(__name__)

Send: TypeAlias = Callable[[Sequence[Span]], bool]
"""Exports spans; false when they are lost. It may take seconds, and no more than a bound of its own."""

_QUEUE_SPANS = 4096
"""Spans that may wait: about 4 MB. 300 requests a second, all sampled, fill it in 5 s."""

_BATCH_SPANS = 64
"""Spans of one export. Encoding them takes some milliseconds in which requests get Python's lock late: with up to 512
at one go, once a second, the 95th percentile of requests was two to six times as long (measured)."""

_PERIOD_SECONDS = 0.2
"""Longest wait of a span for company."""

_PAUSE_SECONDS = 5.0
"""After an export that failed: the collector is asked again no sooner."""


class Outbox:
    """Exports spans in the background. What it cannot get rid of is dropped, and told in one line an outage.

    Parameters
    ----------
    connect
        Makes what sends; called in the outbox's own thread, once there is something to send.
    """

    def __init__(self, connect: Callable[[], Send]) -> None:
        self._connect = connect
        self._send: Send | None = None
        self._waiting: deque[Span] = deque()
        self._lost = 0
        self._failing = False
        self._closing = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def close(self, timeout_seconds: float) -> None:
        """Send what waits, as far as that is possible in the time."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_seconds)
        if lost := self._lost + len(self._waiting):
            logger.warning("spans not exported", lost=f"{lost} spans", next="the process ends")

    def put(self, span: Span) -> None:
        """Have a span exported; it is dropped when too many wait. Never waits itself."""
        if len(self._waiting) >= _QUEUE_SPANS:
            self._lost += 1
            return
        self._waiting.append(span)
        if len(self._waiting) == _BATCH_SPANS:
            self._wake.set()

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(_PERIOD_SECONDS)
            self._wake.clear()
            while self._waiting and self._export():
                pass
            if self._failing and not self._closing:
                self._pause()
        # One try more, even if the last one failed: a collector may be back.
        while self._waiting and self._export():
            pass

    def _export(self) -> bool:
        batch = [self._waiting.popleft() for _ in range(min(_BATCH_SPANS, len(self._waiting)))]
        try:
            self._send = self._send or self._connect()
            sent, reason = self._send(batch), "the collector does not take them"
        except Exception as error:  # noqa: BLE001 - whatever is wrong with tracing, the work goes on
            sent, reason = False, type(error).__name__
        if not sent:
            self._lost += len(batch)
        self._tell(reason, failed=not sent)
        return sent

    def _pause(self) -> None:
        until = time.monotonic() + _PAUSE_SECONDS
        while not self._closing and (left := until - time.monotonic()) > 0:
            self._wake.wait(left)
            # Set by a full batch too; what does not fit meanwhile is dropped.
            if not self._closing:
                self._wake.clear()

    def _tell(self, reason: str, *, failed: bool) -> None:
        if failed and not self._failing:
            logger.warning("spans not exported", reason=reason, lost="spans", next="another try every few seconds")
        if not failed and self._lost:
            logger.warning("spans exported again", lost=f"{self._lost} spans", next="traces of that time have gaps")
            self._lost = 0
        self._failing = failed
