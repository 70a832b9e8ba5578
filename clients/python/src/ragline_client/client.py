"""The client that waits."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
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

__all__ = ["AnswerStream", "JobHandle", "Ragline"]

T = TypeVar("T")


class Ragline:
    """A Ragline service. Threads may share one; close it, or use it in a `with` block.

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
        transport: httpx2.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection = Connection(
            base_url, timeout=timeout, max_retries=max_retries, max_retry_seconds=max_retry_seconds
        )
        self._http = httpx2.Client(**self._connection.http_options(api_key), transport=transport)
        self._pause = pause

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection.place!r})"

    def ask(self, collection: str, question: str, **options: Unpack[AskOptions]) -> Answer:
        """The whole answer at once; `AskOptions` says what shapes it."""
        return self._run(_calls.ask(collection, question, **options))

    def cancel(self, job_id: str) -> Job:
        """Cancel a job."""
        return self._run(_calls.cancel(job_id))

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def collection(self, name: str) -> Collection:
        """One collection."""
        return self._run(_calls.collection(name))

    def collections(self) -> Iterator[Collection]:
        """All collections, page by page."""
        return self._pages(_calls.collections())

    def delete_collection(self, name: str) -> "JobHandle":
        """Delete a collection with all its documents."""
        return self._submit(_calls.delete_collection(name))

    def delete_document(self, document_id: str) -> "JobHandle":
        """Delete a document; from now on it answers no question."""
        return self._submit(_calls.delete_document(document_id))

    def document(self, document_id: str) -> Document:
        """One document, its job included."""
        return self._run(_calls.document(document_id))

    def documents(self, collection: str) -> Iterator[Document]:
        """All documents of a collection, oldest first, page by page."""
        return self._pages(_calls.documents(collection))

    def events(self, job_id: str) -> Iterator[Event]:
        """What happens in a job, from its beginning to its end; a broken connection is taken up where it broke.

        Raises
        ------
        JobFailed
            In the place of `DoneEvent`: the job has failed or was cancelled.
        """
        return self._follow(self._following(_calls.events(job_id), job_id))

    def job(self, job_id: str) -> Job:
        """A job as it is now."""
        return self._run(_calls.job(job_id))

    def stream(self, collection: str, question: str, **options: Unpack[AskOptions]) -> "AnswerStream":
        """The answer as it comes; `AskOptions` says what shapes it."""
        following = self._following(_calls.stream(collection, question, **options))
        return AnswerStream(self._follow(following), following, give_up=self._give_up)

    def upload(
        self,
        collection: str,
        source: Source,
        *,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        progress: ProgressCallback | None = None,
        idempotency_key: str | None = None,
    ) -> "JobHandle":
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
        return self._submit(_calls.upload(collection, body, idempotency_key))

    def upload_many(
        self, collection: str, paths: Iterable[Source], *, metadata: Mapping[str, Any] | None = None
    ) -> "list[UploadResult[JobHandle]]":
        """Send many documents in few requests; each has its own job, or its own error."""
        calls = _calls.upload_many(collection, paths, metadata)
        return [result for call in calls for result in upload_results(self._run(call), self._handle)]

    def verify(self, name: str) -> "JobHandle":
        """Have a collection's stored chunks compared with what they should be; the job's `result` is the report."""
        return self._submit(_calls.verify(name))

    def wait(self, job_id: str, *, timeout_seconds: float | None = None, on_progress: JobCallback | None = None) -> Job:
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
        return self._drive(waiting(job_id, timeout_seconds=timeout_seconds, on_progress=on_progress))

    def _drive(self, steps: Generator[Call[T], T, T]) -> T:
        try:
            call = next(steps)
            while True:
                call = steps.send(self._run(call))
        except StopIteration as end:
            result: T = end.value
            return result

    def _follow(self, following: Following) -> Generator[Event, None, None]:
        while not following.ended:
            try:
                with self._opened(following) as source:
                    for sent in source:
                        if event := following.take(sent):
                            yield event
            except RaglineError as error:
                self._pause(following.broke(error))
            else:
                if not following.ended:
                    self._pause(following.broke())

    def _following(self, call: Call[None], job_id: str = "") -> Following:
        return Following(call, self._connection.patience(call), job_id=job_id)

    def _give_up(self, job_id: str) -> Job:
        return self._run(_calls.give_up(job_id))

    def _handle(self, submission: Submission) -> "JobHandle":
        return JobHandle(self, submission)

    @contextmanager
    def _opened(self, following: Following) -> Iterator[httpx2.EventSource]:
        with (
            self._connection.failures(),
            self._connection.request(following.call) as options,
            self._http.sse(**options) as source,
        ):
            if not source.response.is_success:
                source.response.read()
            following.opened(self._connection.checked(source.response))
            yield source

    def _pages(self, call: Call[Page[T]]) -> Iterator[T]:
        following: Call[Page[T]] | None = call
        while following:
            page = self._run(following)
            yield from page.items
            following = _calls.following(following, page)

    def _run(self, call: Call[T]) -> T:
        patience = self._connection.patience(call)
        while True:
            try:
                with self._connection.failures(), self._connection.request(call) as options:
                    response = self._http.request(**options)
                return self._connection.reply(call, response)
            except RaglineError as error:
                self._pause(patience.pause_after(error))

    def _submit(self, call: Call[Submission]) -> "JobHandle":
        return self._handle(self._run(call))


class JobHandle(Handle):
    """Work the service has taken."""

    def __init__(self, client: Ragline, submission: Submission) -> None:
        super().__init__(submission)
        self._client = client

    def cancel(self) -> Job:
        """Cancel it."""
        return self._client.cancel(self.id)

    def events(self) -> Iterator[Event]:
        """What happens in it; see `Ragline.events`."""
        return self._client.events(self.id)

    def state(self) -> Job:
        """The job as it is now."""
        return self._client.job(self.id)

    def wait(self, *, timeout_seconds: float | None = None, on_progress: JobCallback | None = None) -> Job:
        """The job once it has succeeded; see `Ragline.wait`."""
        return self._client.wait(self.id, timeout_seconds=timeout_seconds, on_progress=on_progress)


class AnswerStream:
    """Events of an answer, once, in their order. Leaving it early (`close`, `with`) cancels the question.

    Raises
    ------
    JobFailed
        While iterating, in the place of `DoneEvent`.
    """

    def __init__(
        self, events: Generator[Event, None, None], following: Following, *, give_up: Callable[[str], object]
    ) -> None:
        self._events = events
        self._following = following
        self._give_up = give_up
        self._so_far = AnswerSoFar()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = next(self._events)
        self._so_far.take(event)
        return event

    @property
    def job_id(self) -> str:
        """Id of the question's job, from the first event on."""
        return self._following.job_id

    def answer(self) -> Answer:
        """The whole answer; reads what is still to come."""
        for _ in self:
            pass
        return self._so_far.answer(self.job_id)

    def close(self) -> None:
        """Read no more."""
        self._events.close()
        if job_id := self._following.given_up():
            # The service keeps a question with an Idempotency-Key for whoever sends it again.
            with suppress(RaglineError):
                self._give_up(job_id)
