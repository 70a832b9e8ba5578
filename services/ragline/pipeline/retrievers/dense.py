"""Passages by nearness of meaning: embed the question, ask the vector store, keep what is visible."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ragline.common.errors import EmbeddingSpaceMismatch
from ragline.common.models import Chunk, CollectionRecord, Passage
from ragline.pipeline.protocols import Embedder
from ragline.stores.protocols import Vector, VectorHit, VectorStore, scope_of

__all__ = ["DenseRetriever", "Documents", "VisibleDocument"]

_SPARE_HITS = 8
"""Asked for beyond `top_k` at first, if that is more than another `top_k`: a re-ingest leaves few hidden chunks near
one question."""

_MOST_DOUBLINGS = 3
"""Eight times the first request at most: what is further away does not answer the question, and each doubling is
another round trip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisibleDocument:
    """The version of a document that answers questions now.

    Attributes
    ----------
    chunks
        Its manifest: chunk by chunk id.
    """

    name: str
    chunks: Mapping[str, Chunk]


class Documents(Protocol):
    """Knows which versions are visible."""

    def visible(self, tenant: str, document_ids: Collection[str]) -> Mapping[str, VisibleDocument]:
        """Those of the documents that belong to the tenant and have a visible version, by id."""


class DenseRetriever:
    """A `Retriever` over a vector store.

    The store may hold more than is visible (half-written versions, chunks not yet cleaned away): a hit counts only when
    its id is in the manifest of its document's visible version, and its page and offsets are those of the manifest.

    Parameters
    ----------
    embedder
        Must be of the space the collection was embedded in.
    vectors
        Where the chunks lie.
    documents
        Says which chunks count.
    """

    def __init__(self, *, embedder: Embedder, vectors: VectorStore, documents: Documents) -> None:
        self._embedder = embedder
        self._vectors = vectors
        self._documents = documents

    def run(self, *, question: str, collection: CollectionRecord, top_k: int) -> list[Passage]:
        """Find the passages nearest to a question.

        Parameters
        ----------
        question
            In any words.
        collection
            Where to look.
        top_k
            How many passages to return at most.

        Returns
        -------
        list of Passage
            Best first; fewer than `top_k` when no more are visible nearby.

        Raises
        ------
        EmbeddingSpaceMismatch
            The collection was embedded with another model.
        TransientError, RejectedError, ProtocolError
            Of the embedding model, the vector store or the manifests.
        """
        if collection.space != self._embedder.space:
            detail = f"The collection is of {collection.space}, questions are embedded with {self._embedder.space}"
            raise EmbeddingSpaceMismatch(detail)
        vector = self._embedder.embed_query(question)
        limit = max(2 * top_k, top_k + _SPARE_HITS)
        known: dict[str, VisibleDocument | None] = {}
        passages: list[Passage] = []
        for _ in range(1 + _MOST_DOUBLINGS):
            hits = self._hits(collection, vector, limit)
            self._look_up(collection.tenant, hits, known)
            passages = [passage for hit in hits if (passage := _passage(hit, known[hit.document_id]))]
            if len(passages) >= top_k or len(hits) < limit:
                break
            limit *= 2
        return passages[:top_k]

    def _hits(self, collection: CollectionRecord, vector: Vector, limit: int) -> list[VectorHit]:
        scope = scope_of(collection.tenant, collection.name)
        return self._vectors.query(collection.physical, vector, scope=scope, limit=limit)

    def _look_up(self, tenant: str, hits: Sequence[VectorHit], known: dict[str, VisibleDocument | None]) -> None:
        """Add the documents that are new; each is asked for once, so that one answer rests on one version of it."""
        new = {hit.document_id for hit in hits} - known.keys()
        if new:
            visible = self._documents.visible(tenant, new)
            known.update({document_id: visible.get(document_id) for document_id in new})


def _passage(hit: VectorHit, document: VisibleDocument | None) -> Passage | None:
    chunk = document.chunks.get(hit.id) if document else None
    if document is None or chunk is None:
        return None
    return Passage(
        chunk_id=hit.id,
        document_id=hit.document_id,
        document=document.name,
        page=chunk.page,
        start=chunk.start,
        end=chunk.end,
        text=hit.text,
        score=hit.score,
    )
