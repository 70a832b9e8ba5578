"""Which chunks count: those in the manifest of their document's visible version."""

from collections import OrderedDict
from collections.abc import Collection, Mapping
from threading import Lock
from typing import Any

from ragline.common.errors import ProtocolError
from ragline.common.models import Chunk, DocumentRecord
from ragline.pipeline.retrievers.dense import VisibleDocument
from ragline.stores.document_files import DocumentFiles
from ragline.stores.ledger.working import WorkLedger

__all__ = ["VisibleDocuments"]

_CACHED_CHUNKS = 500_000
"""Chunks whose positions are kept in memory; about 300 bytes each."""


class VisibleDocuments:
    """The visible chunks of documents, as the ledger says at the moment of the question.

    Parameters
    ----------
    ledger
        Names the visible version.
    files
        Holds the manifests; a manifest never changes, so it may be cached for ever.
    """

    def __init__(self, *, ledger: WorkLedger, files: DocumentFiles) -> None:
        self._ledger = ledger
        self._files = files
        self._cache: OrderedDict[tuple[str, int], Mapping[str, Chunk]] = OrderedDict()
        self._cached_chunks = 0
        self._lock = Lock()

    def metadata(self, tenant: str, collection: str) -> Mapping[str, Mapping[str, Any]]:
        """Metadata of the collection's visible documents that have some, by id."""
        return self._ledger.metadata(tenant, collection)

    def visible(self, tenant: str, document_ids: Collection[str]) -> Mapping[str, VisibleDocument]:
        """The visible ones among the documents, by id."""
        records = self._ledger.documents(list(document_ids)).values()
        found = (self._document(record) for record in records if record.tenant == tenant and record.version)
        return {document_id: document for document_id, document in found if document.chunks}

    def _document(self, record: DocumentRecord) -> tuple[str, VisibleDocument]:
        try:
            return record.id, VisibleDocument(name=record.name, chunks=self._chunks(record))
        except ProtocolError:
            # A newer version may have replaced this one, and its files, since the record was read.
            newer = self._ledger.documents([record.id]).get(record.id)
            if newer is not None and newer.version == record.version:
                raise
            chunks = self._chunks(newer) if newer is not None and newer.version else {}
            return record.id, VisibleDocument(name=record.name, chunks=chunks)

    def _chunks(self, record: DocumentRecord) -> Mapping[str, Chunk]:
        key = (record.id, record.version)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        chunks = {chunk.id: chunk for chunk in self._files.manifest(record.id, record.version).chunks}
        with self._lock:
            if key not in self._cache:
                self._cache[key] = chunks
                self._cached_chunks += len(chunks)
            while self._cached_chunks > _CACHED_CHUNKS and len(self._cache) > 1:
                _, oldest = self._cache.popitem(last=False)
                self._cached_chunks -= len(oldest)
        return chunks
