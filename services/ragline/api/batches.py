"""Many uploads in one request: one job each, and no file answers for another."""

from dataclasses import dataclass

import structlog

from ragline.api.forms import FormFile, UploadForm
from ragline.api.submissions import DocumentSubmission, Upload
from ragline.common.errors import DependencyError, InvalidRequest, RagError
from ragline.common.models import Submission
from ragline.common.trace_context import TraceContext

__all__ = ["BatchOutcome", "BatchSubmission"]

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOutcome:
    """What became of one file."""

    name: str
    outcome: Submission | RagError


class BatchSubmission:
    """Accepts the files of one form.

    Parameters
    ----------
    documents
        Accepts each of them.
    """

    def __init__(
        self,
        *,
        documents: DocumentSubmission,
        collection: str,
        tenant: str,
        trace: TraceContext,
        idempotency_key: str | None = None,
    ) -> None:
        self._documents = documents
        self._collection = collection
        self._tenant = tenant
        self._trace = trace
        self._idempotency_key = idempotency_key
        self._outcomes: list[BatchOutcome] = []

    async def submit(self, form: UploadForm) -> list[BatchOutcome]:
        """One outcome for each file that was read, in their order.

        A part that is away is not asked again for every further file. Once a file is accepted, its caller must learn of
        it: a form that breaks off later, or a part that goes away, is told as outcomes too.

        Raises
        ------
        RagError
            What broke the form, or the part that is away, while no file was accepted.
        """
        away: DependencyError | None = None
        try:
            while (file := await form.next_file()) is not None:
                outcome = away or await self._outcome(form, file)
                self._outcomes.append(BatchOutcome(name=file.name, outcome=outcome))
                if isinstance(outcome, DependencyError):
                    away = outcome
                    self._raise_unless_accepted(outcome)
        except RagError as error:
            self._raise_unless_accepted(error)
            if self._outcomes[-1].outcome is not error:
                self._outcomes.append(BatchOutcome(name="", outcome=error))
        if not self._outcomes:
            raise InvalidRequest("The form holds no part `file`")
        return self._outcomes

    async def _outcome(self, form: UploadForm, file: FormFile) -> Submission | RagError:
        key = self._idempotency_key
        upload = Upload(
            collection=self._collection,
            name=file.name,
            source=file.parts,
            metadata=form.metadata,
            # Each file is a request of its own to the ledger.
            idempotency_key=None if key is None else f"{key} file {len(self._outcomes)}",
        )
        try:
            submission = await self._documents.submit(upload, tenant=self._tenant, trace=self._trace)
        except RagError as error:
            return error
        # The request's own line cannot name them all.
        logger.info("file accepted", job_id=submission.job_id, document_id=submission.document_id)
        return submission

    def _raise_unless_accepted(self, error: RagError) -> None:
        if not any(isinstance(done.outcome, Submission) for done in self._outcomes):
            raise error
