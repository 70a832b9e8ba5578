"""Deletion of a collection: each of its documents is deleted, then it is forgotten."""

import time

from ragline.pipeline.protocols import StepControl, StepDone, StepOutcome, StepUnfinished
from ragline.stores.ledger.working import WorkLedger

__all__ = ["DropStep"]

_BATCH_DOCUMENTS = 100
"""Documents hidden in one call: it holds up the server for a few milliseconds."""

_PAUSE_SECONDS = 0.2
"""Between looks at deletes that are under way; other messages of the queue are taken meanwhile."""


class DropStep:
    """Queues a delete for each document, and ends when none is left.

    Parameters
    ----------
    ledger
        Knows the documents.
    pause_seconds
        Wait before the step goes back to its queue, behind the deletes that it waits for.
    """

    def __init__(self, *, ledger: WorkLedger, pause_seconds: float = _PAUSE_SECONDS) -> None:
        self._ledger = ledger
        self._pause_seconds = pause_seconds

    def run(self, control: StepControl) -> StepOutcome:
        """Bring the collection nearer to its end."""
        job = control.job
        documents = self._ledger.document_ids(job.tenant, job.collection)
        for start in range(0, len(documents), _BATCH_DOCUMENTS):
            self._ledger.delete_documents(control.claim, documents[start : start + _BATCH_DOCUMENTS])
            if control.should_stop():
                return StepUnfinished(progressed=True)
        if not documents:
            return StepDone(result={"collection": job.collection})
        time.sleep(self._pause_seconds)
        return StepUnfinished(progressed=True)
