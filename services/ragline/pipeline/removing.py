"""Removal of what the vector store and the object store hold of a document beyond its visible version."""

from collections.abc import Collection

from ragline.pipeline.protocols import StepControl
from ragline.stores.document_files import DocumentFiles
from ragline.stores.ledger.working import WorkLedger
from ragline.stores.protocols import VectorStore

__all__ = ["Remover"]

_BATCH_CHUNKS = 64
"""Chunks removed under one look at the fence: a single write to the vector store."""


class Remover:
    """Removes chunks and files that do not count any more; used by every step that ends a version's life.

    Parameters
    ----------
    ledger
        Guards each removal with the document's fence, and knows where originals lie.
    files
        Pages, manifests and originals.
    vectors
        The chunks.
    """

    def __init__(self, *, ledger: WorkLedger, files: DocumentFiles, vectors: VectorStore) -> None:
        self._ledger = ledger
        self._files = files
        self._vectors = vectors

    def remove_hidden_chunks(self, control: StepControl, physical: str, *, keep: Collection[str]) -> bool:
        """Remove the document's chunks but those to keep.

        Returns
        -------
        bool
            False when the step should stop before the end.

        Raises
        ------
        ClaimLost
            The job was replaced: what looks left over may be the chunks of the next version.
        """
        document_id = control.job.document_id
        hidden = sorted(self._vectors.ids_of_document(physical, document_id) - set(keep))
        for start in range(0, len(hidden), _BATCH_CHUNKS):
            if start and control.should_stop():
                return False
            self._ledger.fence(control.claim)
            self._vectors.delete(physical, hidden[start : start + _BATCH_CHUNKS])
        return True

    def remove_old_files(self, control: StepControl, *, keep_versions: Collection[int], newest: int) -> None:
        """Remove pages, manifests and originals of the versions up to `newest` but those to keep."""
        document_id = control.job.document_id
        originals = self._ledger.originals(document_id)
        ended = [version for version in originals if version <= newest and version not in keep_versions]
        for version in ended:
            self._files.delete_version(document_id, version)
            self._files.objects.remove(originals[version])
        self._ledger.forget_originals(document_id, ended)
