"""Chroma through its own HTTP client; the only module that knows it."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
from chromadb.api.fastapi import FastAPI
from chromadb.api.models.Collection import Collection
from chromadb.config import Settings, System
from chromadb.errors import ChromaError, NotFoundError
from chromadb.types import Collection as CollectionModel

from ragline.common.calls import called
from ragline.common.constants import CHROMA_WRITE_BATCH_CHUNKS
from ragline.common.errors import ProtocolError, RejectedError, TransientError
from ragline.common.span_names import DB_OPERATION, DB_SYSTEM, Dependency
from ragline.stores.protocols import EVERY_DOCUMENT, DocumentChoice, Vector, VectorEntry, VectorHit

__all__ = ["ChromaVectorStore"]

_CONNECT_SECONDS = 2
"""Longest wait for a connection; a server in the same cluster accepts within milliseconds or not at all."""

_LOOKUP_BATCH_IDS = 1000
"""Ids per look-up; the server's own limit is 5,461 (SQLite variables)."""

_LOOKS = 3
"""Entries that are removed while the server looks take the place of others; another look has those."""

_PAGE_ENTRIES = 2000
"""Entries per page when a whole collection is listed."""

_WRITES = {"add", "delete"}

_PASSING_REFUSALS = {httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS}


class ChromaVectorStore:
    """A `VectorStore` on Chroma's Rust server. Building one asks nothing of the server; threads may share it.

    Parameters
    ----------
    url
        Of the server, such as ``http://localhost:8001``.
    timeout_seconds
        Bound of one request; Chroma's client has none of its own.

    Notes
    -----
    Vectors always come from us: a collection is opened without an embedding function and without its schema, because
    Chroma's client would otherwise build the one that the *server* names (chroma-core/chroma issue 6717).
    """

    def __init__(self, url: str, *, timeout_seconds: float = 10) -> None:
        self._server = _connect(url)
        # The client offers no public way to close, to bound its requests or to learn their status.
        self._session: httpx.Client = self._server._session  # noqa: SLF001
        self._session.timeout = httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, _CONNECT_SECONDS))
        self._session.event_hooks = {"response": [_raise_if_passing]}
        self._collections: dict[str, Collection] = {}

    def add(self, physical: str, entries: Sequence[VectorEntry]) -> None:
        """See `VectorStore.add`; small batches, because readers wait while one is applied."""
        # The server refuses a batch that names an id twice; the first of them counts.
        new = list({entry.id: entry for entry in reversed(entries)}.values())[::-1]
        for start in range(0, len(new), CHROMA_WRITE_BATCH_CHUNKS):
            batch = new[start : start + CHROMA_WRITE_BATCH_CHUNKS]
            with self._called("add", physical):
                vectors: Any = [entry.vector for entry in batch]
                self._opened(physical).add(
                    ids=[entry.id for entry in batch],
                    embeddings=vectors,
                    documents=[entry.text for entry in batch],
                    metadatas=[_metadata(entry) for entry in batch],
                )

    def close(self) -> None:
        """Let go of the connections."""
        self._session.close()

    def delete(self, physical: str, ids: Iterable[str]) -> None:
        """See `VectorStore.delete`."""
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), CHROMA_WRITE_BATCH_CHUNKS):
            with self._called("delete", physical):
                if collection := self._found(physical):
                    collection.delete(ids=wanted[start : start + CHROMA_WRITE_BATCH_CHUNKS])

    def existing(self, physical: str, ids: Sequence[str]) -> set[str]:
        """See `VectorStore.existing`."""
        wanted = list(dict.fromkeys(ids))
        stored: set[str] = set()
        for start in range(0, len(wanted), _LOOKUP_BATCH_IDS):
            with self._called("look up", physical):
                if collection := self._found(physical):
                    stored.update(collection.get(ids=wanted[start : start + _LOOKUP_BATCH_IDS], include=[])["ids"])
        return stored

    def ids_of_document(self, physical: str, document_id: str) -> set[str]:
        """See `VectorStore.ids_of_document`."""
        return set(self._listed(physical, {"document_id": document_id}))

    def ids_of_scope(self, physical: str, scope: str) -> dict[str, str]:
        """See `VectorStore.ids_of_scope`."""
        return self._listed(physical, {"scope": scope})

    def query(
        self, physical: str, vector: Vector, *, scope: str, limit: int, documents: DocumentChoice = EVERY_DOCUMENT
    ) -> list[VectorHit]:
        """See `VectorStore.query`."""
        with self._called("query", physical):
            collection = self._found(physical)
            # The server refuses an empty list.
            if collection is None or (documents.within is not None and not documents.within):
                return []
            for _ in range(_LOOKS):
                rows = collection.query(
                    query_embeddings=vector[np.newaxis],
                    n_results=limit,
                    where=_searched(scope, documents),
                    include=["documents", "metadatas", "distances"],
                )
                hits = _hits(rows)
                if len(hits) == len(rows["ids"][0]):
                    break
            return hits

    def _listed(self, physical: str, where: dict[str, Any]) -> dict[str, str]:
        """Page by page; a removal meanwhile moves later rows up, past the next page's begin (see the protocol)."""
        listed: dict[str, str] = {}
        offset = 0
        while True:
            with self._called("list", physical):
                collection = self._found(physical)
                if collection is None:
                    return listed
                rows: Any = collection.get(where=where, include=["metadatas"], limit=_PAGE_ENTRIES, offset=offset)
                for entry_id, metadata in zip(rows["ids"], rows["metadatas"], strict=True):
                    listed[entry_id] = str(metadata["document_id"])
            offset += len(rows["ids"])
            if len(rows["ids"]) < _PAGE_ENTRIES:
                return listed

    def _found(self, physical: str) -> Collection | None:
        if physical in self._collections:
            return self._collections[physical]
        try:
            return self._remembered(self._server.get_collection(physical))
        except NotFoundError:
            return None

    def _opened(self, physical: str) -> Collection:
        if physical in self._collections:
            return self._collections[physical]
        space: Any = {"hnsw": {"space": "cosine"}}
        return self._remembered(self._server.get_or_create_collection(physical, configuration=space))

    def _remembered(self, model: CollectionModel) -> Collection:
        # With it, each `add` would build the embedding functions of the schema, even when it is given vectors.
        model.serialized_schema = None
        collection = Collection(client=self._server, model=model, embedding_function=None)
        self._collections[model.name] = collection
        return collection

    @contextmanager
    def _called(self, operation: str, physical: str) -> Iterator[None]:
        attributes = {DB_SYSTEM: "chroma", DB_OPERATION: operation}
        with called(Dependency.CHROMA, operation, attributes), self._errors(operation, physical):
            yield

    @contextmanager
    def _errors(self, operation: str, physical: str) -> Iterator[None]:
        try:
            yield
        except NotFoundError as error:
            # It was there when it was opened: another try finds its successor, or that there is none.
            self._collections.pop(physical, None)
            raise TransientError("chroma", operation, "the collection has just gone") from error
        except ChromaError as error:
            raise RejectedError("chroma", operation, f"{type(error).__name__}: {error}") from error
        except httpx.HTTPStatusError as error:
            raise TransientError("chroma", operation, f"HTTP {error.response.status_code}") from error
        except httpx.HTTPError as error:
            unanswered = operation in _WRITES and not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            raise TransientError("chroma", operation, type(error).__name__, unanswered=unanswered) from error
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ProtocolError("chroma", operation, f"unreadable answer ({type(error).__name__})") from error
        except Exception as error:
            # The client raises a bare Exception for a refusal that is not in Chroma's own format.
            if type(error) is not Exception:
                raise
            raise RejectedError("chroma", operation, f"HTTP {_status(error)}") from error


def _connect(url: str) -> FastAPI:
    """Chroma's client below `chromadb.HttpClient`, which asks the server several things, unbounded, while it is built.

    The host may be a whole URL; the port is then demanded all the same, and not looked at.
    """
    settings = Settings(
        chroma_api_impl="chromadb.api.fastapi.FastAPI",
        chroma_server_host=url,
        chroma_server_http_port=0,
        anonymized_telemetry=False,
    )
    return System(settings).instance(FastAPI)


def _raise_if_passing(response: httpx.Response) -> None:
    """Before the client makes an error of the body: it goes by the name there, and its catch-all hides the status."""
    if response.is_server_error or response.status_code in _PASSING_REFUSALS:
        response.raise_for_status()


def _status(error: Exception) -> int:
    cause = error.__context__
    return cause.response.status_code if isinstance(cause, httpx.HTTPStatusError) else 0


def _metadata(entry: VectorEntry) -> dict[str, Any]:
    return {"scope": entry.scope, "document_id": entry.document_id, "source": entry.source, "page": entry.page}


def _searched(scope: str, documents: DocumentChoice) -> dict[str, Any]:
    conditions: list[dict[str, Any]] = [{"scope": scope}]
    if documents.within is not None:
        conditions.append({"document_id": {"$in": sorted(documents.within)}})
    if documents.without:
        conditions.append({"document_id": {"$nin": sorted(documents.without)}})
    return {"$and": conditions} if len(conditions) > 1 else conditions[0]


def _hits(rows: Any) -> list[VectorHit]:  # noqa: ANN401 - a typed dictionary of the library with optional parts
    """Without entries that were removed while the server answered: of those it has an id and no more."""
    return [
        VectorHit(id=entry_id, document_id=str(metadata["document_id"]), text=text, score=_score(distance))
        for entry_id, metadata, text, distance in zip(
            rows["ids"][0], rows["metadatas"][0], rows["documents"][0], rows["distances"][0], strict=True
        )
        if (metadata, text) != (None, None)
    ]


def _score(distance: float) -> float:
    """Of a cosine distance in [0, 2], give or take a rounding error."""
    return min(1.0, max(0.0, 1 - distance / 2))
