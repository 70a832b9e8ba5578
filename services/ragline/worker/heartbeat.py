"""How a worker says that it lives: to the ledger, and to its container's probes."""

import threading

import structlog

from ragline.common.constants import HEARTBEAT_INTERVAL
from ragline.common.errors import RagError
from ragline.common.queues import Queue
from ragline.worker.context import ProcessContext
from ragline.worker.probes import ProbeFiles

__all__ = ["Heartbeat"]

logger = structlog.get_logger(__name__)


class Heartbeat:
    """A thread that says every few seconds that the worker is alive, and at the end that it leaves.

    Parameters
    ----------
    context
        Of its own, closed by it: the main process of a pool has none.
    """

    def __init__(self, context: ProcessContext, *, queue: Queue, probes: ProbeFiles) -> None:
        self._context = context
        self._queue = queue
        self._probes = probes
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Say that the worker leaves, and return when that is said."""
        self._stopped.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        self._beat()
        while not self._stopped.wait(HEARTBEAT_INTERVAL.total_seconds()):
            self._beat()
        self._leave()
        self._context.close()

    def _beat(self) -> None:
        try:
            self._context.ledger.heartbeat(self._queue, self._context.worker)
            self._probes.ready()
        except RagError as error:
            logger.warning("heartbeat not sent", next="another try soon", **error.to_log())
        except Exception:
            logger.exception("heartbeat not sent by a defect", next="another try soon")

    def _leave(self) -> None:
        self._probes.leave()
        try:
            self._context.ledger.leave(self._queue, self._context.worker)
        except RagError as error:
            logger.warning("worker left without a word", next="it counts as gone soon", **error.to_log())
