"""Removal of a document's chunks and files; readers stopped seeing it when the delete was accepted."""

from ragline.pipeline.protocols import StepControl, StepDone, StepOutcome, StepUnfinished
from ragline.pipeline.removing import Remover
from ragline.stores.ledger.working import WorkLedger

__all__ = ["DeleteStep"]


class DeleteStep:
    """Removes a document for good.

    Parameters
    ----------
    ledger
        Knows the document, and guards the document's fence.
    remover
        Removes what is stored.
    """

    def __init__(self, *, ledger: WorkLedger, remover: Remover) -> None:
        self._ledger = ledger
        self._remover = remover

    def run(self, control: StepControl) -> StepOutcome:
        """Remove everything of the job's document.

        Raises
        ------
        TransientError
            An ingest that the delete replaced is still in the middle of a write.
        """
        job = control.job
        with self._ledger.fenced(control.claim):
            document = self._ledger.documents([job.document_id]).get(job.document_id)
            if document and not self._remover.remove_document(control, document):
                return StepUnfinished(progressed=True)
        return StepDone(result={"document_id": job.document_id})
