"""Event streams as replies: bounded in number, and told to no proxy to be kept."""

from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from ragline.api.measuring import note_stream
from ragline.common.errors import TooManyStreams

__all__ = ["EventStream", "OpenStreams"]


class OpenStreams:
    """Counts the open streams of this process.

    Parameters
    ----------
    limit, limit_per_tenant
        Most streams at one time, of all tenants and of one.
    """

    def __init__(self, *, limit: int, limit_per_tenant: int) -> None:
        self._limit = limit
        self._limit_per_tenant = limit_per_tenant
        self._open: Counter[str] = Counter()

    def closed(self, tenant: str) -> None:
        """One of a tenant's streams has ended."""
        self._open[tenant] -= 1
        self._open += Counter()  # without tenants that have none

    @property
    def count(self) -> int:
        """How many are open, of all tenants."""
        return self._open.total()

    @contextmanager
    def opening(self, tenant: str) -> Iterator[None]:
        """Count one more stream of a tenant from now on, unless the body raises: around what there is a stream of.

        Raises
        ------
        TooManyStreams
            It would be one too many.
        """
        if self._open[tenant] >= self._limit_per_tenant:
            raise TooManyStreams(f"A tenant may have {self._limit_per_tenant} open streams here: close one first")
        if self._open.total() >= self._limit:
            raise TooManyStreams("This server has as many open streams as it may: try again, or poll the job")
        self._open[tenant] += 1
        try:
            yield
        except BaseException:
            self.closed(tenant)
            raise


class EventStream(StreamingResponse):
    """Server-sent events; one open stream of the tenant, counted by `OpenStreams.opening`, ends with them.

    Parameters
    ----------
    headers
        Beside those that every stream has.
    """

    def __init__(
        self,
        events: AsyncGenerator[bytes],
        *,
        streams: OpenStreams,
        tenant: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._events = events
        self._streams = streams
        self._tenant = tenant
        kept_by_nobody = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers={**kept_by_nobody, **(headers or {})})

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        note_stream(scope)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.closed(self._tenant)
            # Not left to the garbage collector: a question that nobody waits for any more is cancelled here.
            await self._events.aclose()
