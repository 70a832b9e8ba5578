"""Removal of a document's chunks and files; readers stopped seeing it when the delete was accepted."""

from ragline.pipeline.protocols import StepControl, StepDone, StepOutcome, StepUnfinished
from ragline.stores.document_files import DocumentFiles
from ragline.stores.ledger.working import WorkLedger
from ragline.stores.protocols import VectorStore

__all__ = ["DeleteStep"]

_BATCH_CHUNKS = 500
"""Chunks removed between two looks at the budget; about 30 ms each hundred."""


class DeleteStep:
    """Vectors first, files last: as long as files are there, an interrupted delete knows what it is about.

    Parameters
    ----------
    ledger
        Knows where the chunks and originals are.
    files
        Pages, manifests and originals.
    vectors
        The chunks.
    """

    def __init__(self, *, ledger: WorkLedger, files: DocumentFiles, vectors: VectorStore) -> None:
        self._ledger = ledger
        self._files = files
        self._vectors = vectors

    def run(self, control: StepControl) -> StepOutcome:
        """Remove everything of the job's document."""
        job = control.job
        collection = self._ledger.collection(job.tenant, job.collection)
        ids = sorted(self._vectors.ids_of_document(collection.physical, job.document_id)) if collection else []
        for start in range(0, len(ids), _BATCH_CHUNKS):
            if start and control.should_stop():
                return StepUnfinished(progressed=True)
            control.report(progress=(start, len(ids), "chunks"))
            if collection:
                self._vectors.delete(collection.physical, ids[start : start + _BATCH_CHUNKS])
        self._files.delete_all(job.document_id)
        for key in self._ledger.originals(job.document_id).values():
            self._files.objects.remove(key)
        return StepDone(result={"document_id": job.document_id, "chunks": len(ids)})
