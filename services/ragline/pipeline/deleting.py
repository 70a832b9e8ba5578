"""Removal of a document's chunks and files; readers stopped seeing it when the delete was accepted."""

from ragline.pipeline.protocols import StepControl, StepDone, StepOutcome, StepUnfinished
from ragline.pipeline.removing import Remover
from ragline.stores.document_files import DocumentFiles
from ragline.stores.ledger.working import WorkLedger

__all__ = ["DeleteStep"]


class DeleteStep:
    """Vectors first, files last: as long as files are there, an interrupted delete knows what it is about.

    Parameters
    ----------
    ledger
        Knows where the chunks and originals are, and guards the document's fence.
    files
        Pages, manifests and originals.
    remover
        Removes the chunks.
    """

    def __init__(self, *, ledger: WorkLedger, files: DocumentFiles, remover: Remover) -> None:
        self._ledger = ledger
        self._files = files
        self._remover = remover

    def run(self, control: StepControl) -> StepOutcome:
        """Remove everything of the job's document.

        Raises
        ------
        TransientError
            An ingest that the delete replaced is still in the middle of a write.
        """
        with self._ledger.fenced(control.claim):
            return self._delete(control)

    def _delete(self, control: StepControl) -> StepOutcome:
        job = control.job
        collection = self._ledger.collection(job.tenant, job.collection)
        if collection and not self._remover.remove_hidden_chunks(control, collection.physical, keep=()):
            return StepUnfinished(progressed=True)
        self._files.delete_all(job.document_id)
        for key in self._ledger.originals(job.document_id).values():
            self._files.objects.remove(key)
        return StepDone(result={"document_id": job.document_id})
