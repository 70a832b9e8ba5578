"""The same for asyncio."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx2
from typing_extensions import override

from ragline_client import _calls
from ragline_client._calls import AskOptions, Call, Page
from ragline_client._connection import Connection
from ragline_client._following import AnswerSoFar, Following
from ragline_client._handles import Handle, UploadResult, upload_results
from ragline_client._uploads import Body, ProgressCallback, Source, document_part
from ragline_client._waiting import JobCallback, waiting
from ragline_client.errors import RaglineError
from ragline_client.models import Answer, Collection, Document, Event, Job, Submission

__all__ = ["AsyncAnswerStream", "AsyncJobHandle", "AsyncRagline"]

T = TypeVar("T")


class AsyncRagline:
    """A Ragline service, for asyncio. Tasks may share one; close it, or use it in an `async with` block.

    Parameters
    ----------
    base_url
        Where the service is, such as ``https://ragline.example.com``.
    api_key
        Sent with every request when given.
    timeout
        Seconds of silence after which the service counts as gone.
    max_retries
        Most further tries of one call, after 429, 502, 503, 504 and broken connections.
    max_retry_seconds
        Time after the first try of a call in which further ones may begin; a longer `Retry-After` is not waited for.
    transport, pause
        Another way to the service, and another way to wait so many seconds; for tests.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout: float = 90.0,
        max_retries: int = 5,
        max_retry_seconds: float = 60.0,
        transport: httpx2.AsyncBaseTransport | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._connection = Connection(
            base_url, timeout=timeout, max_retries=max_retries, max_retry_seconds=max_retry_seconds
        )
        self._http = httpx2.AsyncClient(**self._connection.http_options(api_key), transport=transport)
        self._pause = pause

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection.place!r})"

    async def ask(self, collection: str, question: str, **options: Unpack[AskOptions]) -> Answer:
        """The whole answer at once; `AskOptions` says what shapes it."""
        return await self._run(_calls.ask(collection, question, **options))

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job."""
        return await self._run(_calls.cancel(job_id))

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def collection(self, name: str) -> Collection:
        """One collection."""
        return await self._run(_calls.collection(name))

    def collections(self) -> AsyncIterator[Collection]:
        """All collections, page by page."""
        return self._pages(_calls.collections())

    async def delete_collection(self, name: str) -> "AsyncJobHandle":
        """Delete a collection with all its documents."""
        return await self._submit(_calls.delete_collection(name))

    async def delete_document(self, document_id: str) -> "AsyncJobHandle":
        """Delete a document; from now on it answers no question."""
        return await self._submit(_calls.delete_document(document_id))

    async def document(self, document_id: str) -> Document:
        """One document, its job included."""
        return await self._run(_calls.document(document_id))

    def documents(self, collection: str) -> AsyncIterator[Document]:
        """All documents of a collection, oldest first, page by page."""
        return self._pages(_calls.documents(collection))

    def events(self, job_id: str) -> AsyncIterator[Event]:
        """What happens in a job, from its beginning to its end; a broken connection is taken up where it broke.

        Raises
        ------
        JobFailed
            In the place of `DoneEvent`: the job has failed or was cancelled.
        """
        return self._follow(self._following(_calls.events(job_id), job_id))

    async def job(self, job_id: str) -> Job:
        """A job as it is now."""
        return await self._run(_calls.job(job_id))

    def stream(self, collection: str, question: str, **options: Unpack[AskOptions]) -> "AsyncAnswerStream":
        """The answer as it comes; `AskOptions` says what shapes it."""
        following = self._following(_calls.stream(collection, question, **options))
        return AsyncAnswerStream(self._follow(following), following, give_up=self._give_up)

    async def upload(
        self,
        collection: str,
        source: Source,
        *,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        progress: ProgressCallback | None = None,
        idempotency_key: str | None = None,
    ) -> "AsyncJobHandle":
        """Send a document; the service takes the work and answers before it is done.

        Parameters
        ----------
        source
            A path, bytes, or a binary file; one that cannot seek is sent once and never again.
        name
            Name of the document; default: that of the file. The same name again is a new version.
        metadata
            For filters: strings, numbers, booleans; a date is a string of RFC 3339.
        progress
            Called with the bytes sent and those there are in all (None: not known).
        idempotency_key
            The same key and bytes again, by anybody within 24 hours, is the same upload; default: new for each call.
        """
        body = Body(parts=[document_part(source, name)], metadata=metadata, progress=progress)
        return await self._submit(_calls.upload(collection, body, idempotency_key))

    async def upload_many(
        self, collection: str, paths: Iterable[Source], *, metadata: Mapping[str, Any] | None = None
    ) -> "list[UploadResult[AsyncJobHandle]]":
        """Send many documents in few requests; each has its own job, or its own error."""
        calls = _calls.upload_many(collection, paths, metadata)
        return [result for call in calls for result in upload_results(await self._run(call), self._handle)]

    async def verify(self, name: str) -> "AsyncJobHandle":
        """Have a collection's stored chunks compared with what they should be; the job's `result` is the report."""
        return await self._submit(_calls.verify(name))

    async def wait(
        self, job_id: str, *, timeout_seconds: float | None = None, on_progress: JobCallback | None = None
    ) -> Job:
        """The job once it has succeeded.

        Parameters
        ----------
        timeout_seconds
            Longest wait; None: as long as it takes.
        on_progress
            Called with the job every few seconds.

        Raises
        ------
        JobFailed
            It has failed or was cancelled.
        Timeout
            It has not ended in time.
        """
        return await self._drive(waiting(job_id, timeout_seconds=timeout_seconds, on_progress=on_progress))

    async def _drive(self, steps: Generator[Call[T], T, T]) -> T:
        try:
            call = next(steps)
            while True:
                call = steps.send(await self._run(call))
        except StopIteration as end:
            result: T = end.value
            return result

    async def _follow(self, following: Following) -> AsyncGenerator[Event, None]:
        while not following.ended:
            try:
                async with self._opened(following) as source:
                    async for sent in source:
                        if event := following.take(sent):
                            yield event
            except RaglineError as error:
                await self._pause(following.broke(error))
            else:
                if not following.ended:
                    await self._pause(following.broke())

    def _following(self, call: Call[None], job_id: str = "") -> Following:
        return Following(call, self._connection.patience(call), job_id=job_id)

    async def _give_up(self, job_id: str) -> Job:
        return await self._run(_calls.give_up(job_id))

    def _handle(self, submission: Submission) -> "AsyncJobHandle":
        return AsyncJobHandle(self, submission)

    @asynccontextmanager
    async def _opened(self, following: Following) -> AsyncIterator[httpx2.EventSource]:
        with self._connection.failures(), self._connection.request(following.call) as options:
            async with self._http.sse(**options) as source:
                if not source.response.is_success:
                    await source.response.aread()
                following.opened(self._connection.checked(source.response))
                yield source

    async def _pages(self, call: Call[Page[T]]) -> AsyncIterator[T]:
        following: Call[Page[T]] | None = call
        while following:
            page = await self._run(following)
            for item in page.items:
                yield item
            following = _calls.following(following, page)

    async def _run(self, call: Call[T]) -> T:
        patience = self._connection.patience(call)
        while True:
            try:
                with self._connection.failures(), self._connection.request(call) as options:
                    response = await self._http.request(**options)
                return self._connection.reply(call, response)
            except RaglineError as error:
                await self._pause(patience.pause_after(error))

    async def _submit(self, call: Call[Submission]) -> "AsyncJobHandle":
        return self._handle(await self._run(call))


class AsyncJobHandle(Handle):
    """Work the service has taken."""

    def __init__(self, client: AsyncRagline, submission: Submission) -> None:
        super().__init__(submission)
        self._client = client

    async def cancel(self) -> Job:
        """Cancel it."""
        return await self._client.cancel(self.id)

    def events(self) -> AsyncIterator[Event]:
        """What happens in it; see `AsyncRagline.events`."""
        return self._client.events(self.id)

    async def state(self) -> Job:
        """The job as it is now."""
        return await self._client.job(self.id)

    async def wait(self, *, timeout_seconds: float | None = None, on_progress: JobCallback | None = None) -> Job:
        """The job once it has succeeded; see `AsyncRagline.wait`."""
        return await self._client.wait(self.id, timeout_seconds=timeout_seconds, on_progress=on_progress)


class AsyncAnswerStream:
    """Events of an answer, once, in their order. Leaving it early (`close`, `async with`) cancels the question.

    Raises
    ------
    JobFailed
        While iterating, in the place of `DoneEvent`.
    """

    def __init__(
        self,
        events: AsyncGenerator[Event, None],
        following: Following,
        *,
        give_up: Callable[[str], Awaitable[object]],
    ) -> None:
        self._events = events
        self._following = following
        self._give_up = give_up
        self._so_far = AnswerSoFar()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = await anext(self._events)
        self._so_far.take(event)
        return event

    @property
    def job_id(self) -> str:
        """Id of the question's job, from the first event on."""
        return self._following.job_id

    async def answer(self) -> Answer:
        """The whole answer; reads what is still to come."""
        async for _ in self:
            pass
        return self._so_far.answer(self.job_id)

    async def close(self) -> None:
        """Read no more."""
        await self._events.aclose()
        if job_id := self._following.given_up():
            # The service keeps a question with an Idempotency-Key for whoever sends it again.
            with suppress(RaglineError):
                await self._give_up(job_id)
