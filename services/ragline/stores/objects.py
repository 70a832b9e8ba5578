"""The object store: a folder on a laptop, a bucket on a cluster, memory in tests. All through obstore."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url
from obstore.store import ObjectStore as Store

from ragline.common.errors import ProtocolError, TransientError

__all__ = ["ObjectStore"]

_RETRIES = {"max_retries": 1, "retry_timeout": timedelta(seconds=5)}
"""The ledger decides about retries; one quick second try hides a dropped connection of a pool."""

_TIMEOUTS = {"timeout": timedelta(seconds=10), "connect_timeout": timedelta(seconds=2)}


class ObjectStore:
    """Named byte strings. A write is seen whole or not at all.

    Parameters
    ----------
    url
        ``file:///folder`` (made if absent), ``s3://bucket/prefix``, ``gs://``, ``az://`` or ``memory:///``. Credentials
        come from the environment, as each provider's own tools read them.

    Notes
    -----
    Every method raises `TransientError` when the store is away, full or slow, and `ProtocolError` for an object that
    should be there and is not.
    """

    def __init__(self, url: str) -> None:
        self._store: Store
        if url.startswith("file:"):
            self._store = from_url(url, mkdir=True)
        elif url.startswith("memory:"):
            self._store = from_url(url)
        else:
            self._store = from_url(url, client_options=_TIMEOUTS, retry_config=_RETRIES)  # type: ignore[call-overload] # options of one provider each

    def delete_prefix(self, prefix: str) -> None:
        """Remove every object under a prefix."""
        with _object_errors("delete"):
            for batch in obstore.list(self._store, prefix):
                for entry in batch:
                    self._delete_one(entry["path"])

    def get(self, key: str) -> bytes:
        """The whole object."""
        with _object_errors("get"):
            return bytes(obstore.get(self._store, key).bytes())

    def keys(self, prefix: str) -> list[str]:
        """Keys of all objects under a prefix, sorted."""
        with _object_errors("list"):
            return sorted(entry["path"] for batch in obstore.list(self._store, prefix) for entry in batch)

    @contextmanager
    def local_copy(self, key: str) -> Iterator[Path]:
        """A file with the object's bytes for programs that need a path; a copy is removed afterwards."""
        if isinstance(self._store, LocalStore) and self._store.prefix is not None:
            path = Path(self._store.prefix) / key
            if not path.is_file():
                raise ProtocolError("object store", "get", f"{key} is missing")
            yield path
            return
        with tempfile.NamedTemporaryFile(prefix="ragline-") as file:
            with _object_errors("get"):
                for part in obstore.get(self._store, key):
                    file.write(part)
            file.flush()
            yield Path(file.name)

    def put(self, key: str, data: bytes) -> None:
        """Write a whole object."""
        with _object_errors("put"):
            obstore.put(self._store, key, data)

    def remove(self, key: str) -> None:
        """Remove an object if it is there."""
        with _object_errors("delete"):
            self._delete_one(key)

    async def remove_async(self, key: str) -> None:
        """Remove an object if it is there."""
        with _object_errors("delete"):
            try:
                await obstore.delete_async(self._store, key)
            except FileNotFoundError:
                return

    async def upload(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Write an object from a stream; an error of the stream leaves nothing behind."""
        with _object_errors("put"):
            await obstore.put_async(self._store, key, chunks)

    async def ping(self) -> None:
        """Return when the store answers."""
        with _object_errors("list"):
            await obstore.list_with_delimiter_async(self._store, "ping")

    def _delete_one(self, key: str) -> None:
        try:
            obstore.delete(self._store, key)
        except FileNotFoundError:
            return


@contextmanager
def _object_errors(operation: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ProtocolError("object store", operation, "the object is missing") from error
    except (BaseError, OSError) as error:
        # Only the first line: obstore appends a dump of its request, which may name buckets and hosts at length.
        raise TransientError("object store", operation, str(error).splitlines()[0]) from error
