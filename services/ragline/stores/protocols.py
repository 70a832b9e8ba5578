"""What the pipeline asks of a vector store; `chroma` and `memory` fulfil it, one contract test checks both."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = [
    "EVERY_DOCUMENT",
    "DocumentChoice",
    "Vector",
    "VectorEntry",
    "VectorHit",
    "VectorStore",
    "Vectors",
    "scope_of",
]

Vector = npt.NDArray[np.float32]
"""One embedding, shape (dimensions,)."""

Vectors = npt.NDArray[np.float32]
"""Embeddings, shape (texts, dimensions)."""


def scope_of(tenant: str, collection: str) -> str:
    """The metadata value that keeps collections apart inside one physical collection."""
    return f"{tenant}/{collection}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorEntry:
    """A chunk to store.

    Attributes
    ----------
    scope
        See `scope_of`.
    source
        Name of the document, for programs that read the vector store directly.
    page
        Page the chunk stood on when it was added. The manifest, not this, is what citations use.
    """

    id: str
    vector: Vector
    text: str
    scope: str
    document_id: str
    source: str
    page: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorHit:
    """A chunk near a question; `score` is the cosine similarity mapped to [0, 1]."""

    id: str
    document_id: str
    text: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentChoice:
    """Documents that a query looks at; the entries of all others take no place among the hits.

    Attributes
    ----------
    within
        Ids of the only documents that count; None: all.
    without
        Ids of documents that do not count.
    """

    within: Collection[str] | None = None
    without: Collection[str] = ()


EVERY_DOCUMENT = DocumentChoice()
"""Nothing is passed over."""


class VectorStore(Protocol):
    """Chunks with their vectors, in physical collections: one per embedding space.

    All methods raise `TransientError` when the store is away or slow, `RejectedError` when it refuses the request (a
    wrong dimension), and `ProtocolError` for an answer that cannot be read.
    """

    def add(self, physical: str, entries: Sequence[VectorEntry]) -> None:
        """Store entries; one whose id is stored already stays as it is, since an id names its content."""

    def delete(self, physical: str, ids: Iterable[str]) -> None:
        """Remove entries; unknown ids are ignored."""

    def existing(self, physical: str, ids: Sequence[str]) -> set[str]:
        """Those of the ids that are stored."""

    def ids_of_document(self, physical: str, document_id: str) -> set[str]:
        """Ids of all entries of a document, whatever its version; see `ids_of_scope` about changes meanwhile."""

    def ids_of_scope(self, physical: str, scope: str) -> dict[str, str]:
        """Document id by entry id, for all entries of a collection.

        The listing is no snapshot: while matching entries are removed, others that stay may be left out of it, and
        removed ones may be in it. `existing` tells for sure.
        """

    def query(
        self, physical: str, vector: Vector, *, scope: str, limit: int, documents: DocumentChoice = EVERY_DOCUMENT
    ) -> list[VectorHit]:
        """The nearest entries of a scope, best first; nothing when the collection does not exist.

        Parameters
        ----------
        limit
            Most hits. Fewer come only when the scope holds no more.
        documents
            Those whose entries count. A request names each id in it: a few hundred are cheap, thousands are not.
        """
