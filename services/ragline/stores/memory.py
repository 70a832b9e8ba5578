"""The vector store's twin in memory: exact search, for tests and experiments."""

from collections.abc import Iterable, Sequence

import numpy as np

from ragline.common.errors import RejectedError
from ragline.stores.protocols import EVERY_DOCUMENT, DocumentChoice, Vector, VectorEntry, VectorHit

__all__ = ["MemoryVectorStore"]


class MemoryVectorStore:
    """A `VectorStore` that lives as long as its object."""

    def __init__(self) -> None:
        self._collections: dict[str, dict[str, VectorEntry]] = {}

    def add(self, physical: str, entries: Sequence[VectorEntry]) -> None:
        """See `VectorStore.add`."""
        if not entries:
            return
        stored = self._collections.setdefault(physical, {})
        first = next(iter(stored.values()), entries[0])
        if any(entry.vector.shape != first.vector.shape for entry in entries):
            raise RejectedError("memory", "add", "wrong dimension")
        for entry in entries:
            stored.setdefault(entry.id, entry)

    def delete(self, physical: str, ids: Iterable[str]) -> None:
        """See `VectorStore.delete`."""
        stored = self._collections.get(physical, {})
        for entry_id in ids:
            stored.pop(entry_id, None)

    def existing(self, physical: str, ids: Sequence[str]) -> set[str]:
        """See `VectorStore.existing`."""
        return set(ids) & self._collections.get(physical, {}).keys()

    def ids_of_document(self, physical: str, document_id: str) -> set[str]:
        """See `VectorStore.ids_of_document`."""
        stored = self._collections.get(physical, {})
        return {entry.id for entry in stored.values() if entry.document_id == document_id}

    def ids_of_scope(self, physical: str, scope: str) -> dict[str, str]:
        """See `VectorStore.ids_of_scope`."""
        stored = self._collections.get(physical, {})
        return {entry.id: entry.document_id for entry in stored.values() if entry.scope == scope}

    def query(
        self, physical: str, vector: Vector, *, scope: str, limit: int, documents: DocumentChoice = EVERY_DOCUMENT
    ) -> list[VectorHit]:
        """See `VectorStore.query`."""
        stored = self._collections.get(physical, {})
        if any(entry.vector.shape != vector.shape for entry in stored.values()):
            raise RejectedError("memory", "query", "wrong dimension")
        hits = [
            VectorHit(
                id=entry.id, document_id=entry.document_id, text=entry.text, score=_similarity(vector, entry.vector)
            )
            for entry in stored.values()
            if entry.scope == scope and _is_chosen(entry, documents)
        ]
        return sorted(hits, key=lambda hit: -hit.score)[:limit]


def _is_chosen(entry: VectorEntry, documents: DocumentChoice) -> bool:
    within = documents.within is None or entry.document_id in documents.within
    return within and entry.document_id not in documents.without


def _similarity(left: Vector, right: Vector) -> float:
    cosine = float(np.dot(left, right) / (np.linalg.norm(left) * np.linalg.norm(right)))
    # A rounding error may lead out of [-1, 1].
    return min(1.0, max(0.0, (1 + cosine) / 2))
