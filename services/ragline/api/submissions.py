"""How an upload is accepted: bytes to the object store while they are checked, then one ledger call."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

import orjson
import structlog

from ragline.common.config import ApiConfig
from ragline.common.errors import ClientError, EmptyUpload, RagError, RefusedForNow, TooLarge, UnsupportedMediaType
from ragline.common.identifiers import check_collection_name, check_document_name, new_id, physical_collection
from ragline.common.metadata import Scalar
from ragline.common.models import Submission
from ragline.common.trace_context import TraceContext
from ragline.stores.document_files import original_key
from ragline.stores.ledger.accepting import AcceptLedger, Idempotency, NewDocument
from ragline.stores.objects import ObjectStore

__all__ = ["DocumentSubmission", "Upload", "UploadCheck", "file_parts"]

logger = structlog.get_logger(__name__)

_READ_BYTES = 2**20

_HEADER_WINDOW_BYTES = 1024
"""A PDF's header stands within the first 1,024 bytes (ISO 32000-1, annex H, implementation note 13)."""


async def file_parts(read: Callable[[int], Awaitable[bytes]]) -> AsyncIterator[bytes]:
    """A file's bytes, a megabyte at a time.

    Parameters
    ----------
    read
        Its `read`, which must not block.
    """
    while part := await read(_READ_BYTES):
        yield part


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A document on its way in.

    Attributes
    ----------
    source
        Its bytes.
    metadata
        What the caller notes about it, checked.
    idempotency_key
        The caller's name for this request, checked.
    """

    collection: str
    name: str
    source: AsyncIterator[bytes]
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    idempotency_key: str | None = None


class UploadCheck:
    """Measures and checks bytes as they pass by.

    Parameters
    ----------
    max_bytes
        Largest upload.

    Attributes
    ----------
    size_bytes
        Bytes seen so far.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        """Of the bytes seen so far, in hex."""
        return self._digest.hexdigest()

    async def pass_on(self, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same bytes.

        Raises
        ------
        EmptyUpload, UnsupportedMediaType, TooLarge
            The upload holds nothing, is no PDF, or is over the limit.
        """
        head = b""
        checked = False
        async for part in source:
            self._count(part)
            if checked:
                yield part
                continue
            head += part
            if len(head) >= _HEADER_WINDOW_BYTES:
                _check_header(head)
                checked = True
                yield head
        if not checked:
            _check_header(head)
            yield head

    def _count(self, part: bytes) -> None:
        self.size_bytes += len(part)
        if self.size_bytes > self._max_bytes:
            raise TooLarge(f"A document has at most {self._max_bytes} bytes")
        self._digest.update(part)


class DocumentSubmission:
    """Accepts documents.

    Parameters
    ----------
    ledger
        Records them.
    objects
        Keeps their bytes.
    config
        Limits and the embedding space of new collections.
    """

    def __init__(self, *, ledger: AcceptLedger, objects: ObjectStore, config: ApiConfig) -> None:
        self._ledger = ledger
        self._objects = objects
        self._config = config

    async def submit(self, upload: Upload, *, tenant: str, trace: TraceContext) -> Submission:
        """Store the bytes, then record the document.

        Bytes that the ledger has said it does not need are removed. Without its answer they stay: Redis may run a call
        after its caller has given up, and an accepted document must not lose its bytes.

        Raises
        ------
        InvalidRequest, EmptyUpload, UnsupportedMediaType, TooLarge
            The names or the bytes are not acceptable.
        BacklogFull, Conflict, EmbeddingSpaceMismatch, IdempotencyKeyReused, Overloaded
            As `AcceptLedger.accept_document`: nothing was recorded.
        TransientError
            The object store or the ledger is away.
        """
        check_collection_name(upload.collection)
        label = check_document_name(upload.name)
        check = UploadCheck(max_bytes=self._config.max_upload_bytes)
        key = original_key(new_id("upload"))
        await self._objects.upload(key, check.pass_on(upload.source))
        try:
            new = self._new(replace(upload, name=label), tenant, key, check)
            submission = await self._ledger.accept_document(new, trace)
        except (ClientError, RefusedForNow):
            await self._discard(key)
            raise
        if submission.unchanged or submission.repeated:
            await self._discard(key)
        return submission

    async def _discard(self, key: str) -> None:
        try:
            await self._objects.remove_async(key)
        except RagError as error:
            logger.warning("unneeded upload not removed", object_key=key, next="it stays", **error.to_log())

    def _new(self, upload: Upload, tenant: str, key: str, check: UploadCheck) -> NewDocument:
        space = self._config.embedding_space
        return NewDocument(
            tenant=tenant,
            collection=upload.collection,
            space=space,
            physical=physical_collection(space),
            name=upload.name,
            object_key=key,
            sha256=check.sha256,
            size_bytes=check.size_bytes,
            fingerprint=self._config.pipeline_fingerprint,
            metadata=upload.metadata,
            idempotency=_idempotency(upload, check.sha256),
        )


def _idempotency(upload: Upload, sha256: str) -> Idempotency | None:
    if upload.idempotency_key is None:
        return None
    request = [upload.collection, upload.name, sha256, dict(upload.metadata)]
    return Idempotency(key=upload.idempotency_key, request=orjson.dumps(request, option=orjson.OPT_SORT_KEYS).decode())


def _check_header(head: bytes) -> None:
    if not head:
        raise EmptyUpload("The upload holds no bytes")
    if b"%PDF-" not in head[:_HEADER_WINDOW_BYTES]:
        raise UnsupportedMediaType("The upload does not begin like a PDF document")
