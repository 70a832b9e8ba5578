"""How a request waits for its job: to the end, or event by event."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import orjson
import structlog
from fastapi import Request
from fastapi.sse import format_sse_event

from ragline.common.errors import Cancelled, RagError, TransientError, rebuild_error
from ragline.common.models import Event, JobRecord, JobState
from ragline.stores.ledger.accepting import AcceptLedger

__all__ = ["JobReader"]

logger = structlog.get_logger(__name__)

_HEARTBEAT_SECONDS = 15
"""Longest silence of an event stream: proxies cut silent connections after 30 to 60 s."""


class JobReader:
    """Waits for one job on behalf of one request.

    Parameters
    ----------
    tenant
        Owner of the job.
    owned
        The job exists for this request alone: it is cancelled when nobody waits for it any more.
    """

    def __init__(self, ledger: AcceptLedger, *, tenant: str, job_id: str, owned: bool = False) -> None:
        self._ledger = ledger
        self._tenant = tenant
        self._job_id = job_id
        self._owned = owned

    async def answer(self, request: Request, *, timeout_seconds: float) -> JobRecord:
        """The job of a question once it has succeeded.

        Raises
        ------
        RagError
            The error the job failed with.
        TransientError
            There was no answer in time.
        """
        deadline = time.monotonic() + timeout_seconds
        finished = False
        try:
            async for event in self._ledger.follow(self._job_id):
                # Also while events come: an answer that trickles in takes no longer than a silent one.
                if not _is_last(event) and (time.monotonic() > deadline or await request.is_disconnected()):
                    raise TransientError("rag", "answer", f"no answer within {timeout_seconds:g} s")
            finished = True
        finally:
            if self._owned and not finished:
                await asyncio.shield(self._cancel())
        job = await self._ledger.job(self._tenant, self._job_id)
        if job.state is JobState.SUCCEEDED:
            return job
        raise rebuild_error(job.error.code, job.error.detail) if job.error else Cancelled("The job was cancelled")

    async def ended(self, *, timeout_seconds: float) -> JobRecord:
        """The job when it has ended, or as it is after the timeout."""
        deadline = time.monotonic() + timeout_seconds
        async for event in self._ledger.follow(self._job_id, block_seconds=min(1.0, timeout_seconds)):
            if not _is_last(event) and time.monotonic() >= deadline:
                break
        return await self._ledger.job(self._tenant, self._job_id)

    async def events(self, request: Request, *, after: str = "0") -> AsyncGenerator[Event | None]:
        """The job's events until it is done; None after every silence that a client should hear something of.

        Parameters
        ----------
        after
            Id of the last event the client has.

        Raises
        ------
        TransientError
            The ledger went away.
        """
        finished = False
        quiet_since = time.monotonic()
        try:
            async for event in self._ledger.follow(self._job_id, after=after):
                if event is not None:
                    finished = _is_last(event)
                    yield event
                    quiet_since = time.monotonic()
                elif await request.is_disconnected():
                    return
                elif time.monotonic() - quiet_since > _HEARTBEAT_SECONDS:
                    yield None
                    quiet_since = time.monotonic()
        finally:
            if self._owned and not finished:
                await asyncio.shield(self._cancel())

    async def server_sent_events(self, request: Request, *, after: str = "0") -> AsyncGenerator[bytes]:
        """The same as server-sent events; a ledger that goes away ends them with an ``error``."""
        try:
            # Closed at once when the client leaves: the job may have to be cancelled.
            async with aclosing(self.events(request, after=after)) as events:
                async for event in events:
                    yield _sse(event.type, _told(event), event.id) if event else format_sse_event(comment="waiting")
        except RagError as error:
            yield _sse("error", _failure(error))

    async def _cancel(self) -> None:
        try:
            await self._ledger.cancel(self._tenant, self._job_id)
        except RagError as error:
            logger.warning("question not cancelled", job_id=self._job_id, next="answered to nobody", **error.to_log())


def _failure(error: RagError) -> dict[str, str | bool]:
    return {"code": error.code, "title": error.title, "detail": error.detail, "retryable": error.retryable}


def _is_last(event: Event | None) -> bool:
    return event is not None and event.type == "done"


def _sse(event: str, data: object, event_id: str | None = None) -> bytes:
    return format_sse_event(data_str=orjson.dumps(data).decode(), event=event, id=event_id)


def _told(event: Event) -> Mapping[str, Any]:
    # The ledger keeps of an error what is its own; what follows from the code is said here, as in problems.
    return _failure(rebuild_error(event.data["code"], event.data["detail"])) if event.type == "error" else event.data
