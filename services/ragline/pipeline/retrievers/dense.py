"""Passages by nearness of meaning: embed the question, ask the vector store, keep what is visible."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ragline.common.errors import EmbeddingSpaceMismatch
from ragline.common.models import Chunk, CollectionRecord, Passage
from ragline.common.questions import Question
from ragline.pipeline.protocols import Embedder
from ragline.pipeline.retrievers.selecting import Selection, select
from ragline.stores.protocols import DocumentChoice, Vector, VectorHit, VectorStore, scope_of

__all__ = ["DenseRetriever", "Documents", "VisibleDocument"]

_SPARE_HITS = 8
"""Asked for beyond `top_k` at first, if that is more than another `top_k`: a re-ingest leaves few hidden chunks near
one question."""

_GROWTH = 4
"""Each page of hits is so many times as large as the one before: five round trips at most from 11 hits to the bound."""

_MOST_HITS = 2000
"""The largest page. Documents that are wholly hidden take no place in it, so it is only full of hidden chunks when one
visible document has so many of a version that is not visible (yet), all nearer than any answer. About 2 MB."""


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
    """Knows which versions are visible, and what their uploaders say of them."""

    def metadata(self, tenant: str, collection: str) -> Mapping[str, Mapping[str, Any]]:
        """Metadata of the collection's visible documents that have some, by id."""

    def visible(self, tenant: str, document_ids: Collection[str]) -> Mapping[str, VisibleDocument]:
        """Those of the documents that belong to the tenant and have a visible version, by id."""


class DenseRetriever:
    """A `Retriever` over a vector store.

    The store may hold more than is visible (half-written versions, chunks not yet cleaned away): a hit counts only when
    its id is in the manifest of its document's visible version, and its page and offsets are those of the manifest.
    When hidden chunks leave too few passages, the store is asked again for more, without the documents that have
    nothing more to give. A question's filter chooses documents before that, see `Selection`.

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

    def run(self, *, question: Question, collection: CollectionRecord) -> list[Passage]:
        """Find the passages nearest to a question.

        Parameters
        ----------
        question
            In any words; `top_k` is how many passages to return at most.
        collection
            Where to look.

        Returns
        -------
        list of Passage
            Best first; fewer than `top_k` when no more are visible among the 2,000 nearest chunks, those of hidden
            documents not counted.

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
        selection = self._selection(question, collection)
        if selection.is_empty:
            return []
        top_k, vector = question.top_k, self._embedder.embed_query(question.text)
        known: dict[str, VisibleDocument | None] = {}
        found: dict[str, Passage] = {}
        for limit in _limits(top_k):
            hits = self._hits(collection, vector, limit, selection.choice(_exhausted(known, found)))
            self._look_up(collection.tenant, hits, known, selection)
            found |= {hit.id: passage for hit in hits if (passage := _passage(hit, known[hit.document_id]))}
            if len(found) >= top_k or len(hits) < limit:
                break
        return sorted(found.values(), key=lambda passage: -passage.score)[:top_k]

    def _hits(
        self, collection: CollectionRecord, vector: Vector, limit: int, documents: DocumentChoice
    ) -> list[VectorHit]:
        scope = scope_of(collection.tenant, collection.name)
        return self._vectors.query(collection.physical, vector, scope=scope, limit=limit, documents=documents)

    def _look_up(
        self,
        tenant: str,
        hits: Sequence[VectorHit],
        known: dict[str, VisibleDocument | None],
        selection: Selection,
    ) -> None:
        """Add the documents that are new; each is asked for once, so that one answer rests on one version of it."""
        new = {hit.document_id for hit in hits} - known.keys()
        if new:
            visible = self._documents.visible(tenant, {document_id for document_id in new if document_id in selection})
            known.update({document_id: visible.get(document_id) for document_id in new})

    def _selection(self, question: Question, collection: CollectionRecord) -> Selection:
        if not question.filter:
            return Selection()
        return select(self._documents.metadata(collection.tenant, collection.name), question.filter)


def _limits(top_k: int) -> Iterator[int]:
    limit = max(2 * top_k, top_k + _SPARE_HITS)
    while limit < _MOST_HITS:
        yield limit
        limit *= _GROWTH
    yield _MOST_HITS


def _exhausted(known: Mapping[str, VisibleDocument | None], found: Mapping[str, Passage]) -> set[str]:
    """Documents whose other chunks are all hidden: every chunk of the visible version is found, or there is none."""
    return {
        document_id
        for document_id, document in known.items()
        if document is None or document.chunks.keys() <= found.keys()
    }


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
