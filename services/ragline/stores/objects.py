"""The object store: a folder on a laptop, a bucket on a cluster, memory in tests. All through obstore."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url
from obstore.store import ObjectStore as Store

from ragline.common.calls import called
from ragline.common.config import ConfigError
from ragline.common.errors import ProtocolError, TransientError
from ragline.common.span_names import Dependency

__all__ = ["ObjectStore"]

_RETRIES = {"max_retries": 1, "retry_timeout": timedelta(seconds=5)}
"""The ledger decides about retries; one quick second try hides a dropped connection of a pool."""

_CLIENT = {"timeout": timedelta(seconds=10), "connect_timeout": timedelta(seconds=2), "allow_http": True}
"""An address is plain HTTP only if the operator writes so, as for a MinIO in the same cluster. `AWS_ALLOW_HTTP` is not
read once other options are given."""

_PART_BYTES = 5 * 2**20
"""Of a stream on its way to a bucket: the smallest part that S3 takes. One fills while one goes
out; obstore's own bound is twelve on their way at a time, for each upload."""

_FILE_PART_BYTES = 2**18
"""The same for a folder, which takes any."""


_SMALL_BYTES = 2**18
"""Up to this size the bytes of a stream are handed over at once: obstore asks for each piece of a stream from a thread
of its own, and each time has to wait for Python."""

_FILE_THREADS = 4
"""Small files that are written at the same time: a write takes 50 us, or as long as the disk stalls for all."""


class ObjectStore:
    """Named byte strings. A write is seen whole or not at all.

    Parameters
    ----------
    url
        ``file:///folder`` (made if absent), ``s3://bucket/prefix``, ``gs://``, ``az://`` or ``memory:///``. Credentials
        come from the environment, as each provider's own tools read them.

    Raises
    ------
    ConfigError
        The URL is none of these, or the folder cannot be made.

    Notes
    -----
    Every method raises `TransientError` when the store is away, full or slow, and `ProtocolError` for an object that
    should be there and is not. Keys are ours: one that is no plain path (``..``, control characters) is a defect, told
    by a `ValueError` or `TypeError`.
    """

    def __init__(self, url: str) -> None:
        try:
            self._store = _opened(url)
        except (BaseError, OSError, ValueError) as error:
            raise ConfigError(f"OBJECT_STORE_URL: {_first_line(error)}") from None
        # Its threads start with the first file.
        self._files = ThreadPoolExecutor(_FILE_THREADS, thread_name_prefix="files")

    def delete_prefix(self, prefix: str) -> None:
        """Remove every object under a prefix."""
        with _called("delete"):
            for batch in obstore.list(self._store, prefix):
                for entry in batch:
                    self._delete_one(entry["path"])

    def get(self, key: str) -> bytes:
        """The whole object."""
        with _called("get"):
            return bytes(obstore.get(self._store, key).bytes())

    def keys(self, prefix: str) -> list[str]:
        """Keys of all objects under a prefix, sorted."""
        with _called("list"):
            return sorted(entry["path"] for batch in obstore.list(self._store, prefix) for entry in batch)

    @contextmanager
    def local_copy(self, key: str) -> Iterator[Path]:
        """A file with the object's bytes for programs that need a path; a copy is removed afterwards."""
        if isinstance(self._store, LocalStore) and self._store.prefix is not None:
            with _called("get"):
                found = obstore.head(self._store, key)
            yield Path(self._store.prefix) / found["path"]
            return
        with tempfile.NamedTemporaryFile(prefix="ragline-") as file:
            with _called("get"):
                for part in obstore.get(self._store, key):
                    file.write(part)
            file.flush()
            yield Path(file.name)

    def put(self, key: str, data: bytes) -> None:
        """Write a whole object."""
        with _called("put"):
            obstore.put(self._store, key, data)

    def remove(self, key: str) -> None:
        """Remove an object if it is there."""
        with _called("delete"):
            self._delete_one(key)

    async def remove_async(self, key: str) -> None:
        """Remove an object if it is there."""
        with _called("delete"):
            try:
                await obstore.delete_async(self._store, key)
            except FileNotFoundError:
                return

    async def upload(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Write an object from a stream; an error of the stream leaves nothing behind."""
        with _called("put"):
            head, ended = await _beginning(chunks, _SMALL_BYTES)
            if not ended:
                size = _FILE_PART_BYTES if isinstance(self._store, LocalStore) else _PART_BYTES
                whole = _continued(head, chunks)
                await obstore.put_async(self._store, key, whole, chunk_size=size, max_concurrency=1)
            elif isinstance(self._store, LocalStore):
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._files, partial(obstore.put, self._store, key, head))
            else:
                await obstore.put_async(self._store, key, head)

    async def ping(self) -> None:
        """Return when the store answers."""
        with _called("list"):
            await obstore.list_with_delimiter_async(self._store, "ping")

    def _delete_one(self, key: str) -> None:
        try:
            obstore.delete(self._store, key)
        except FileNotFoundError:
            return


async def _beginning(chunks: AsyncIterator[bytes], most: int) -> tuple[bytes, bool]:
    """The first bytes of a stream, and whether these are all."""
    head: list[bytes] = []
    size = 0
    async for chunk in chunks:
        head.append(chunk)
        size += len(chunk)
        if size > most:
            return b"".join(head), False
    return b"".join(head), True


async def _continued(head: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for chunk in chunks:
        yield chunk


@contextmanager
def _called(operation: str) -> Iterator[None]:
    with called(Dependency.OBJECT_STORE, operation), _object_errors(operation):
        yield


@contextmanager
def _object_errors(operation: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ProtocolError("object store", operation, "the object is missing") from error
    except (BaseError, OSError) as error:
        raise TransientError("object store", operation, type(error).__name__, reason=_first_line(error)) from error


def _first_line(error: Exception) -> str:
    """Without the dump of its request that obstore appends, which may name buckets and hosts at length."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _opened(url: str) -> Store:
    if url.startswith("file:"):
        return from_url(url, mkdir=True)
    if url.startswith("memory:"):
        return from_url(url)
    return from_url(url, client_options=_CLIENT, retry_config=_RETRIES)  # type: ignore[call-overload, no-any-return] # options of one provider each
