"""Comparison of what the vector store holds with what the manifests say (promise P2)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from ragline.common.models import DocumentRecord, DocumentState
from ragline.pipeline.protocols import StepControl, StepDone, StepOutcome
from ragline.stores.document_files import DocumentFiles
from ragline.stores.ledger.working import WorkLedger
from ragline.stores.protocols import VectorStore, scope_of

__all__ = ["VerifyStep"]

_SETTLED = {DocumentState.INDEXED, DocumentState.FAILED, DocumentState.CANCELLED}
_LISTED_IDS = 100
"""Ids named per class of difference; the counts are always complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Difference:
    documents: int = 0
    chunks: int = 0
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)


class VerifyStep:
    """Chunk ids in the vector store against the manifests of a collection.

    Parameters
    ----------
    ledger
        Knows the documents.
    files
        Holds their manifests.
    vectors
        Holds the chunks.
    """

    def __init__(self, *, ledger: WorkLedger, files: DocumentFiles, vectors: VectorStore) -> None:
        self._ledger = ledger
        self._files = files
        self._vectors = vectors

    def run(self, control: StepControl) -> StepOutcome:
        """Compare.

        Returns
        -------
        StepDone
            Its result counts documents and chunks and names ids that are `missing` (in a manifest only), `extra` (of
            no known document) and `stale` (of a known document, but not of its visible version). Chunks of a document
            that is being worked on are left out: they are in motion.
        """
        job = control.job
        collection = self._ledger.collection(job.tenant, job.collection)
        stored = (
            self._vectors.ids_of_scope(collection.physical, scope_of(job.tenant, job.collection)) if collection else {}
        )
        documents = self._ledger.documents(self._ledger.document_ids(job.tenant, job.collection))
        return StepDone(result=_report(self._compare(documents, stored)))

    def _compare(self, documents: Mapping[str, DocumentRecord], stored: Mapping[str, str]) -> _Difference:
        by_document: dict[str, set[str]] = {}
        for chunk_id, document_id in stored.items():
            by_document.setdefault(document_id, set()).add(chunk_id)
        difference = _Difference(documents=len(documents), chunks=len(stored))
        for document_id in by_document.keys() - documents.keys():
            difference.extra.extend(sorted(by_document[document_id]))
        for document in documents.values():
            if document.state in _SETTLED:
                held = by_document.get(document.id, set())
                expected = self._expected(document)
                difference.missing.extend(sorted(expected - held))
                difference.stale.extend(sorted(held - expected))
        return difference

    def _expected(self, document: DocumentRecord) -> set[str]:
        if not document.version:
            return set()
        return {chunk.id for chunk in self._files.manifest(document.id, document.version).chunks}


def _report(difference: _Difference) -> dict[str, object]:
    lists = {name: getattr(difference, name) for name in ("missing", "extra", "stale")}
    return {
        **asdict(difference),
        **{name: ids[:_LISTED_IDS] for name, ids in lists.items()},
        **{f"{name}_count": len(ids) for name, ids in lists.items()},
        "consistent": not any(lists.values()),
    }
