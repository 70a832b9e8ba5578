"""What an upload leaves behind that ended without becoming visible: failed, cancelled or replaced."""

from ragline.common.models import DocumentRecord, DocumentState
from ragline.pipeline.protocols import StepControl, StepDone, StepOutcome, StepUnfinished
from ragline.pipeline.removing import Remover
from ragline.stores.document_files import DocumentFiles
from ragline.stores.ledger.working import WorkLedger

__all__ = ["CleanStep"]


class CleanStep:
    """Clears a document of everything but its visible version.

    Parameters
    ----------
    ledger
        Knows the document and guards its fence.
    files
        Holds the manifest of the visible version.
    remover
        Removes the rest.
    """

    def __init__(self, *, ledger: WorkLedger, files: DocumentFiles, remover: Remover) -> None:
        self._ledger = ledger
        self._files = files
        self._remover = remover

    def run(self, control: StepControl) -> StepOutcome:
        """Remove chunks and files that do not count. The original of a failed newest version stays, for a later try."""
        with self._ledger.fenced(control.claim):
            # Read under the fence: nothing becomes visible while it is held.
            document = self._ledger.documents([control.job.document_id]).get(control.job.document_id)
            if document is None or not (document.state.settled or document.state is DocumentState.DELETED):
                # A job that works on it or deletes it clears it too, or has it littered again when it fails.
                return StepDone()
            return StepDone() if self._clean(control, document) else StepUnfinished(progressed=True)

    def _clean(self, control: StepControl, document: DocumentRecord) -> bool:
        if document.state is DocumentState.DELETED:
            return self._remover.remove_document(control, document)
        manifest = self._files.manifest(document.id, document.version) if document.version else None
        keep = {chunk.id for chunk in manifest.chunks} if manifest else set()
        if not self._remover.remove_hidden_chunks(control, document.physical, keep=keep):
            return False
        failed = {document.accepted_version} if document.state is DocumentState.FAILED else set()
        kept = {document.version} | failed
        # A worker that froze may have written files of a version after another cleaning had forgotten it.
        found = self._files.versions(document.id)
        self._remover.remove_old_files(control, keep_versions=kept, newest=document.accepted_version, found=found)
        return True
