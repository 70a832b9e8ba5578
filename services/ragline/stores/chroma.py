"""Chroma through its own HTTP client; the only module that knows it."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import chromadb
import httpx
import numpy as np
from chromadb.api import ClientAPI
from chromadb.api.models.Collection import Collection
from chromadb.config import Settings
from chromadb.errors import ChromaError, InternalError, NotFoundError, RateLimitError

from ragline.common.constants import CHROMA_WRITE_BATCH_CHUNKS
from ragline.common.errors import ProtocolError, RejectedError, TransientError
from ragline.stores.protocols import Vector, VectorEntry, VectorHit

__all__ = ["ChromaVectorStore"]

_LOOKUP_BATCH_IDS = 1000
"""Ids per look-up; the server's own limit is 5,461 (SQLite variables)."""

_PAGE_ENTRIES = 2000
"""Entries per page when a whole collection is listed."""


class ChromaVectorStore:
    """A `VectorStore` on Chroma's Rust server.

    Parameters
    ----------
    url
        Of the server, such as ``http://localhost:8001``.
    timeout_seconds
        Bound of one request; Chroma's client has none of its own.

    Notes
    -----
    Vectors always come from us: a collection is opened without an embedding function, because Chroma's client would
    otherwise build the one that the *server* names (chroma-core/chroma issue 6717).
    """

    def __init__(self, url: str, *, timeout_seconds: float = 10) -> None:
        self._url = urlsplit(url)
        self._timeout = httpx.Timeout(timeout_seconds, connect=2)
        self._lock = threading.Lock()
        self._client: ClientAPI | None = None
        self._collections: dict[str, Collection] = {}

    def add(self, physical: str, entries: Sequence[VectorEntry]) -> None:
        """See `VectorStore.add`; small batches, because readers wait while one is applied."""
        for start in range(0, len(entries), CHROMA_WRITE_BATCH_CHUNKS):
            batch = entries[start : start + CHROMA_WRITE_BATCH_CHUNKS]
            with self._errors("add", physical):
                self._open(physical, create=True).add(
                    ids=[entry.id for entry in batch],
                    embeddings=np.stack([entry.vector for entry in batch]),
                    documents=[entry.text for entry in batch],
                    metadatas=[_metadata(entry) for entry in batch],
                )

    def delete(self, physical: str, ids: Iterable[str]) -> None:
        """See `VectorStore.delete`."""
        wanted = list(ids)
        for start in range(0, len(wanted), CHROMA_WRITE_BATCH_CHUNKS):
            with self._errors("delete", physical, missing_is_fine=True):
                self._open(physical).delete(ids=wanted[start : start + CHROMA_WRITE_BATCH_CHUNKS])

    def existing(self, physical: str, ids: Sequence[str]) -> set[str]:
        """See `VectorStore.existing`."""
        found: set[str] = set()
        for start in range(0, len(ids), _LOOKUP_BATCH_IDS):
            with self._errors("look up", physical, missing_is_fine=True):
                part = list(ids[start : start + _LOOKUP_BATCH_IDS])
                found.update(self._open(physical).get(ids=part, include=[])["ids"])
        return found

    def ids_of_document(self, physical: str, document_id: str) -> set[str]:
        """See `VectorStore.ids_of_document`."""
        return {entry_id for entry_id, _ in self._listed(physical, {"document_id": document_id})}

    def ids_of_scope(self, physical: str, scope: str) -> dict[str, str]:
        """See `VectorStore.ids_of_scope`."""
        return dict(self._listed(physical, {"scope": scope}))

    def query(self, physical: str, vector: Vector, *, scope: str, limit: int) -> list[VectorHit]:
        """See `VectorStore.query`."""
        rows: Any = None
        with self._errors("query", physical, missing_is_fine=True):
            rows = self._open(physical).query(
                query_embeddings=vector[np.newaxis],
                n_results=limit,
                where={"scope": scope},
                include=["documents", "metadatas", "distances"],
            )
        return _hits(rows) if rows else []

    def _listed(self, physical: str, where: dict[str, Any]) -> Iterator[tuple[str, str]]:
        offset = 0
        while True:
            rows: Any = None
            with self._errors("list", physical, missing_is_fine=True):
                rows = self._open(physical).get(where=where, include=["metadatas"], limit=_PAGE_ENTRIES, offset=offset)
            ids = rows["ids"] if rows else []
            for entry_id, metadata in zip(ids, rows["metadatas"] if rows else [], strict=True):
                yield entry_id, str(metadata["document_id"])
            if len(ids) < _PAGE_ENTRIES:
                return
            offset += len(ids)

    def _connect(self) -> ClientAPI:
        if self._client is None:
            client = chromadb.HttpClient(
                host=self._url.hostname or "localhost",
                port=self._url.port or (443 if self._url.scheme == "https" else 80),
                ssl=self._url.scheme == "https",
                settings=Settings(anonymized_telemetry=False),
            )
            # The client offers no public way to bound its requests.
            client._server._session.timeout = self._timeout  # type: ignore[attr-defined] # noqa: SLF001
            self._client = client
        return self._client

    def _open(self, physical: str, *, create: bool = False) -> Collection:
        with self._lock:
            if physical not in self._collections:
                client = self._connect()
                self._collections[physical] = (
                    client.get_or_create_collection(
                        physical, embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
                    )
                    if create
                    else client.get_collection(physical, embedding_function=None)
                )
            return self._collections[physical]

    @contextmanager
    def _errors(self, operation: str, physical: str, *, missing_is_fine: bool = False) -> Iterator[None]:
        try:
            yield
        except NotFoundError as error:
            self._collections.pop(physical, None)
            if not missing_is_fine:
                raise TransientError("chroma", operation, "the collection has just gone") from error
        except (InternalError, RateLimitError) as error:
            raise TransientError("chroma", operation, type(error).__name__) from error
        except ChromaError as error:
            raise RejectedError("chroma", operation, f"{type(error).__name__}: {error}") from error
        except httpx.HTTPError as error:
            raise TransientError("chroma", operation, type(error).__name__) from error
        except (KeyError, TypeError) as error:
            raise ProtocolError("chroma", operation, f"unreadable answer ({type(error).__name__})") from error
        except Exception as error:
            # The client raises a bare ValueError when it cannot connect and a bare Exception for an unknown reply.
            if type(error) not in {ValueError, Exception}:
                raise
            raise TransientError("chroma", operation, "no usable answer") from error


def _metadata(entry: VectorEntry) -> dict[str, Any]:
    return {"scope": entry.scope, "document_id": entry.document_id, "source": entry.source, "page": entry.page}


def _hits(rows: Any) -> list[VectorHit]:  # noqa: ANN401 - a typed dictionary of the library with optional parts
    return [
        VectorHit(id=entry_id, document_id=str(metadata["document_id"]), text=text, score=max(0.0, 1 - distance / 2))
        for entry_id, metadata, text, distance in zip(
            rows["ids"][0], rows["metadatas"][0], rows["documents"][0], rows["distances"][0], strict=True
        )
    ]
