"""Finds the trace of a job, a document or an id: where traces are collected, or else in the ledger."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from ragline.cli.client import RaglineClient
from ragline.cli.failures import ApiFailure
from ragline.cli.replies import JobCourse, understood
from ragline.cli.traces.jaeger import NotJaeger, read_trace
from ragline.cli.traces.ledger import LEDGER, spans_of_job
from ragline.cli.traces.spans import Span, ends, missing_parents

__all__ = ["FoundTrace", "find_trace", "job_of"]

_TRACE_ID = re.compile(r"(?:00-)?([0-9a-f]{32})(?:-[0-9a-f]{16}-[0-9a-f]{2})?")
_PATIENCE_SECONDS = 10.0

_ON_THE_WAY = timedelta(seconds=5)
"""So long after the end of a job its last spans may still arrive: a process sends them several times a second."""

_ASK_AGAIN_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTrace:
    """A trace and where it came from.

    Attributes
    ----------
    source
        An address, or ``ledger``.
    notes
        Why it does not come from where it was looked for first, or what is missing.
    """

    trace_id: str
    source: str
    spans: tuple[Span, ...]
    notes: tuple[str, ...] = ()


def find_trace(
    name: str, client: RaglineClient, *, jaeger_url: str | None, pause: Callable[[float], None] = time.sleep
) -> FoundTrace:
    """The trace that a job, a document or a trace id names. It waits for spans of a job that has only just ended.

    Raises
    ------
    ApiFailure, ApiUnreachable
        There is none, or nobody to ask.
    """
    given = _TRACE_ID.fullmatch(name.strip().lower())
    job = None if given else job_of(name, client)
    trace_id = given[1] if given else str((job or {}).get("trace_id", ""))
    ended_at = understood(JobCourse, job).finished_at if job else None
    spans, note = _collected(jaeger_url, trace_id, ended_at, pause)
    if spans:
        notes = (note,) if note else ()
        return FoundTrace(trace_id=trace_id, source=str(jaeger_url), spans=tuple(spans), notes=notes)
    if job is None:
        raise ApiFailure(f"{note} The ledger has timings by job: give the job's or the document's id.")
    events = client.events_so_far(job["id"])
    told = spans_of_job(job, events, now_us=time.time_ns() // 1000)
    return FoundTrace(trace_id=trace_id, source=LEDGER, spans=tuple(told), notes=(note,))


def job_of(name: str, client: RaglineClient) -> dict[str, Any]:
    """The job of this name, or the newest one of a document.

    Raises
    ------
    ApiFailure
        There is no such thing, or the service has forgotten the job.
    """
    if not name.startswith("doc_"):
        return client.job(name)
    document = client.document(name)
    job = document.get("job")
    if not isinstance(job, dict):
        raise ApiFailure(f"The service no longer remembers the newest job of {name}, which is {document.get('state')}")
    return job


def _collected(
    jaeger_url: str | None, trace_id: str, ended_at: datetime | None, pause: Callable[[float], None]
) -> tuple[list[Span], str]:
    if not jaeger_url:
        return [], "No address to ask for traces (--jaeger-url, JAEGER_URL, or `ragline up --observe`)."
    try:
        spans = _read(jaeger_url, trace_id)
        while ended_at is not None and _on_the_way(spans, ended_at):
            pause(_ASK_AGAIN_SECONDS)
            spans = _read(jaeger_url, trace_id)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return [], f"{jaeger_url} does not give the trace: {error}."
    except (ValueError, NotJaeger):
        return [], f"{jaeger_url} does not speak Jaeger's HTTP API."
    if not spans:
        return [], f"{jaeger_url} has no trace {trace_id}: not sampled, forgotten, or still on its way."
    missing = len(missing_parents(spans))
    note = f"Spans that others are a part of are missing: {missing}, dropped or still on their way."
    return spans, note if missing else ""


def _read(jaeger_url: str, trace_id: str) -> list[Span]:
    address = f"{jaeger_url.rstrip('/')}/api/traces/{trace_id}"
    reply = httpx2.get(address, timeout=_PATIENCE_SECONDS, trust_env=not _is_local(jaeger_url))
    if reply.status_code != httpx2.codes.NOT_FOUND:
        reply.raise_for_status()
    return read_trace(reply.json())


def _on_the_way(spans: Sequence[Span], ended_at: datetime) -> bool:
    """Whether spans of the end of a job are missing that may still come."""
    if abs(datetime.now(UTC) - ended_at) > _ON_THE_WAY:
        return False
    _, last_us = ends(spans)
    return last_us < ended_at.timestamp() * 1_000_000 or bool(missing_parents(spans))


def _is_local(url: str) -> bool:
    return (httpx2.URL(url).host or "") in {"127.0.0.1", "localhost", "::1"}
