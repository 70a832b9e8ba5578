"""Removal of what the vector store and the object store hold of a document beyond its visible version."""

from collections.abc import Collection

from ragline.common.models import DocumentRecord
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
        """Remove the document's chunks but those to keep; under its fence, since which these are known.

        Returns
        -------
        bool
            False when the step should stop before the end.

        Raises
        ------
        ClaimLost
            The job was replaced: what looks left over may be the chunks of the next version.
        TransientError
            The fence ran out meanwhile, for the same reason.
        """
        document_id = control.job.document_id
        hidden = sorted(self._vectors.ids_of_document(physical, document_id) - set(keep))
        for start in range(0, len(hidden), _BATCH_CHUNKS):
            if start and control.should_stop():
                return False
            self._ledger.keep_fence(control.claim)
            self._vectors.delete(physical, hidden[start : start + _BATCH_CHUNKS])
        return True

    def remove_document(self, control: StepControl, document: DocumentRecord) -> bool:
        """Remove everything of a document that is deleted; False when the step should stop before the end.

        Vectors first, files last: as long as files are there, an interrupted removal knows what it is about.
        """
        if not self.remove_hidden_chunks(control, document.physical, keep=()):
            return False
        self._files.delete_all(document.id)
        for key in self._ledger.originals(document.id).values():
            self._files.objects.remove(key)
        return True

    def remove_old_files(
        self, control: StepControl, *, keep_versions: Collection[int], newest: int, found: Collection[int] = ()
    ) -> None:
        """Remove pages, manifests and originals of the versions up to `newest` but those to keep.

        Parameters
        ----------
        found
            Versions that have files, though their originals may be forgotten.
        """
        document_id = control.job.document_id
        originals = self._ledger.originals(document_id)
        versions = sorted(originals.keys() | set(found))
        ended = [version for version in versions if version <= newest and version not in keep_versions]
        for version in ended:
            self._files.delete_version(document_id, version)
        forgotten = [version for version in ended if version in originals]
        for version in forgotten:
            self._files.objects.remove(originals[version])
        self._ledger.forget_originals(document_id, forgotten)
