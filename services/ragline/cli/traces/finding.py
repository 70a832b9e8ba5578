"""Finds the trace of a job, a document or an id: where traces are collected, or else in the ledger."""

import re
import time
from dataclasses import dataclass
from typing import Any

import httpx2

from ragline.cli.client import RaglineClient
from ragline.cli.failures import ApiFailure
from ragline.cli.traces.jaeger import NotJaeger, read_trace
from ragline.cli.traces.ledger import LEDGER, spans_of_job
from ragline.cli.traces.spans import Span

__all__ = ["FoundTrace", "find_trace", "job_of"]

_TRACE_ID = re.compile(r"(?:00-)?([0-9a-f]{32})(?:-[0-9a-f]{16}-[0-9a-f]{2})?")
_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTrace:
    """A trace and where it came from.

    Attributes
    ----------
    source
        An address, or ``ledger``.
    notes
        Why it does not come from where it was looked for first.
    """

    trace_id: str
    source: str
    spans: tuple[Span, ...]
    notes: tuple[str, ...] = ()


def find_trace(name: str, client: RaglineClient, *, jaeger_url: str | None) -> FoundTrace:
    """The trace that a job, a document or a trace id names.

    Raises
    ------
    ApiFailure, ApiUnreachable
        There is none, or nobody to ask.
    """
    given = _TRACE_ID.fullmatch(name.strip().lower())
    job = None if given else job_of(name, client)
    trace_id = given[1] if given else str((job or {}).get("trace_id", ""))
    spans, note = _collected(jaeger_url, trace_id)
    if spans:
        return FoundTrace(trace_id=trace_id, source=str(jaeger_url), spans=tuple(spans))
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


def _collected(jaeger_url: str | None, trace_id: str) -> tuple[list[Span], str]:
    if not jaeger_url:
        return [], "No address to ask for traces (--jaeger-url, JAEGER_URL, or `ragline up --observe`)."
    try:
        address = f"{jaeger_url.rstrip('/')}/api/traces/{trace_id}"
        reply = httpx2.get(address, timeout=_PATIENCE_SECONDS, trust_env=not _is_local(jaeger_url))
        if reply.status_code != httpx2.codes.NOT_FOUND:
            reply.raise_for_status()
        spans = read_trace(reply.json())
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return [], f"{jaeger_url} does not give the trace: {error}."
    except (ValueError, NotJaeger):
        return [], f"{jaeger_url} does not speak Jaeger's HTTP API."
    return spans, "" if spans else f"{jaeger_url} has no trace {trace_id}: not sampled, forgotten, or still on its way."


def _is_local(url: str) -> bool:
    return (httpx2.URL(url).host or "") in {"127.0.0.1", "localhost", "::1"}
