"""Comparison of what the vector store holds with what the manifests say (promise P2)."""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace

from ragline.common.errors import ProtocolError
from ragline.common.models import DocumentRecord, JobRecord
from ragline.pipeline.protocols import StepControl, StepDone, StepOutcome
from ragline.stores.document_files import DocumentFiles
from ragline.stores.ledger.working import WorkLedger
from ragline.stores.protocols import VectorStore, scope_of

__all__ = ["VerifyStep"]

_READERS = 16
"""Manifests that are read at the same time: a bucket answers in about 10 ms, and one after another 60,000 of them would
take as long as a claim may last."""

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
            that is being worked on are left out: they are in motion. Each difference is looked at again before it is
            reported, because a listing misses chunks while others are removed, and documents move on meanwhile.
            `damaged` documents have chunks missing: uploading them again embeds just these. Stale chunks are cleaned
            away.

        Raises
        ------
        TransientError, ProtocolError
            Of a store; a manifest that should be there is missing.
        """
        job = control.job
        before = self._documents(job)
        expected = self._expected([document for document in before.values() if document.state.settled])
        stored = self._stored(job)
        # Listing a large collection takes seconds: what has changed meanwhile is in motion too.
        after = self._documents(job)
        settled = {id_: ids for id_, ids in expected.items() if after.get(id_) == before[id_] and ids is not None}
        known = before.keys() | after.keys()
        seen = _compare(settled, stored, documents=len(after), known=known)
        owners = dict(stored)
        owners.update({chunk_id: document_id for document_id, ids in settled.items() for chunk_id in ids})
        difference = self._confirmed(job, seen, owners, before)
        damaged = sorted({owners[chunk_id] for chunk_id in difference.missing})
        self._ledger.mark(damaged=damaged, littered={owners[chunk_id] for chunk_id in difference.stale})
        return StepDone(result={**_report(difference), "damaged": damaged})

    def _confirmed(
        self,
        job: JobRecord,
        seen: _Difference,
        owners: Mapping[str, str],
        before: Mapping[str, DocumentRecord],
    ) -> _Difference:
        """The differences that a second look finds too: first at the chunks, then at the documents they belong to."""
        suspects = [*seen.missing, *seen.extra, *seen.stale]
        collection = self._ledger.collection(job.tenant, job.collection)
        there = self._vectors.existing(collection.physical, suspects) if collection and suspects else set()
        now = self._ledger.documents(sorted({owners[chunk_id] for chunk_id in suspects}))

        def unmoved(chunk_id: str) -> bool:
            return now.get(owners[chunk_id]) == before.get(owners[chunk_id])

        return replace(
            seen,
            chunks=seen.chunks + len(there.intersection(seen.missing)),
            missing=[chunk_id for chunk_id in seen.missing if chunk_id not in there and unmoved(chunk_id)],
            extra=[chunk_id for chunk_id in seen.extra if chunk_id in there and unmoved(chunk_id)],
            stale=[chunk_id for chunk_id in seen.stale if chunk_id in there and unmoved(chunk_id)],
        )

    def _documents(self, job: JobRecord) -> Mapping[str, DocumentRecord]:
        return self._ledger.documents(self._ledger.document_ids(job.tenant, job.collection))

    def _expected(self, documents: Sequence[DocumentRecord]) -> Mapping[str, set[str] | None]:
        """Ids of the visible versions, by document; None for one that has just been replaced."""
        with ThreadPoolExecutor(_READERS, thread_name_prefix="manifests") as pool:
            ids = pool.map(self._expected_of, documents)
            return dict(zip((document.id for document in documents), ids, strict=True))

    def _expected_of(self, document: DocumentRecord) -> set[str] | None:
        if not document.version:
            return set()
        try:
            return {chunk.id for chunk in self._files.manifest(document.id, document.version).chunks}
        except ProtocolError:
            if self._ledger.documents([document.id]).get(document.id) == document:
                raise
            return None

    def _stored(self, job: JobRecord) -> Mapping[str, str]:
        collection = self._ledger.collection(job.tenant, job.collection)
        scope = scope_of(job.tenant, job.collection)
        return self._vectors.ids_of_scope(collection.physical, scope) if collection else {}


def _compare(
    settled: Mapping[str, set[str]], stored: Mapping[str, str], *, documents: int, known: Collection[str]
) -> _Difference:
    by_document: dict[str, set[str]] = {}
    for chunk_id, document_id in stored.items():
        by_document.setdefault(document_id, set()).add(chunk_id)
    difference = _Difference(documents=documents, chunks=len(stored))
    for document_id in by_document.keys() - known:
        difference.extra.extend(sorted(by_document[document_id]))
    for document_id, expected in settled.items():
        held = by_document.get(document_id, set())
        difference.missing.extend(sorted(expected - held))
        difference.stale.extend(sorted(held - expected))
    return difference


def _report(difference: _Difference) -> dict[str, object]:
    lists = {name: getattr(difference, name) for name in ("missing", "extra", "stale")}
    return {
        **asdict(difference),
        **{name: ids[:_LISTED_IDS] for name, ids in lists.items()},
        **{f"{name}_count": len(ids) for name, ids in lists.items()},
        "consistent": not any(lists.values()),
    }
