"""Server-sent events of a job as typed events, over as many connections as it takes."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx2

from ragline_client import _calls
from ragline_client._calls import Call
from ragline_client._parsing import parsed
from ragline_client._patience import Patience
from ragline_client.errors import ConnectionFailed, JobFailed, RaglineError, Timeout, UnexpectedReply
from ragline_client.models import (
    Answer,
    Citation,
    CitationEvent,
    DoneEvent,
    Event,
    ProgressEvent,
    TokenEvent,
    Usage,
    UsageEvent,
)

__all__ = ["AnswerSoFar", "Following"]

_PARSERS: Mapping[str, Callable[[Any], Event]] = {
    "progress": lambda data: parsed(ProgressEvent, data),
    "token": lambda data: parsed(TokenEvent, data),
    "citation": lambda data: CitationEvent(citation=parsed(Citation, data)),
    "usage": lambda data: UsageEvent(usage=parsed(Usage, data)),
    "done": lambda data: parsed(DoneEvent, data),
}
"""A newer service may send other events: they are passed over."""


class Following:
    """Where a stream of events is; says which request opens it and what to do when it breaks.

    Attributes
    ----------
    call
        The request to send next.
    ended
        Whether the last event was there.
    job_id
        Whose events they are; empty until that is known.
    """

    def __init__(self, call: Call[None], patience: Patience, *, job_id: str = "") -> None:
        self.call = call
        self.ended = False
        self.job_id = job_id
        self._patience = patience
        self._last_event_id = ""
        self._failure: JobFailed | None = None
        self._broke: RaglineError | None = None

    def broke(self, error: RaglineError | None = None) -> float:
        """Seconds to wait before the next request; raises when there is to be none."""
        self._broke = error or ConnectionFailed("The stream of events ended before its last event")
        if self.ended:
            raise self._broke
        if isinstance(error, Timeout) and self.job_id:
            # The service sends a heartbeat: a silent stream is a broken one.
            self._broke = ConnectionFailed(str(error))
        try:
            pause = self._patience.pause_after(self._broke)
        except RaglineError:
            if self._failure:
                raise self._failure from self._broke
            raise
        if self.job_id:
            self.call = _calls.events(self.job_id, after=self._last_event_id)
        return pause

    def given_up(self) -> str:
        """Id of the job that nobody reads to its end; empty when there is none. Says so once."""
        job_id = "" if self.ended else self.job_id
        self.ended = True
        return job_id

    def opened(self, response: httpx2.Response) -> None:
        """Take note of whose events come: a question's job is known from here on."""
        self.job_id = self.job_id or response.headers.get("Location", "").rpartition("/")[2]

    def take(self, sent: httpx2.ServerSentEvent) -> Event | None:
        """What was sent, unless it is nothing to tell.

        Raises
        ------
        JobFailed
            The job has ended without success.
        ConnectionFailed
            The service cancelled the question because the stream to us broke.
        """
        self._last_event_id = sent.id or self._last_event_id
        data = _data(sent)
        if sent.event == "error":
            # Not the end: that is `done`. Without it the stream broke, and another try may go on.
            self._failure = self._failed(data)
            return None
        self._patience.restart()
        parse = _PARSERS.get(sent.event)
        event = parse(data) if parse else None
        if isinstance(event, DoneEvent):
            self._end(event.state)
        return event

    def _end(self, state: str) -> None:
        self.ended = True
        if state == "succeeded":
            return
        if state == "cancelled" and self._broke:
            raise ConnectionFailed("The stream broke, and the service cancelled the question") from self._broke
        raise self._failure or self._failed({"code": state})

    def _failed(self, data: Mapping[str, Any]) -> JobFailed:
        return JobFailed(
            job_id=self.job_id,
            code=str(data.get("code", "failed")),
            title=str(data.get("title", "")),
            detail=str(data.get("detail", "")),
            retryable=bool(data.get("retryable", False)),
        )


class AnswerSoFar:
    """An answer as its events make it."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._citations: list[Citation] = []
        self._usage = Usage()
        self._done = False

    def answer(self, job_id: str) -> Answer:
        """What has come, if that is all of it."""
        if not self._done:
            raise RaglineError("There is no answer: its stream was not read to a good end")
        return Answer(
            job_id=job_id,
            text="".join(self._text),
            answered=bool(self._citations),
            citations=tuple(self._citations),
            usage=self._usage,
        )

    def take(self, event: Event) -> None:
        """Add an event."""
        match event:
            case ProgressEvent(attempt=attempt) if attempt:
                # A worker begins, perhaps not the first one: so does the text.
                self._text.clear()
                self._citations.clear()
            case TokenEvent(text=text):
                self._text.append(text)
            case CitationEvent(citation=citation):
                self._citations.append(citation)
            case UsageEvent(usage=usage):
                self._usage = usage
            case DoneEvent():
                self._done = True
            case ProgressEvent():
                pass


def _data(sent: httpx2.ServerSentEvent) -> dict[str, Any]:
    try:
        data = json.loads(sent.data or "{}")
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise UnexpectedReply(f"The data of an event {sent.event!r} are not an object of JSON")
    return data
