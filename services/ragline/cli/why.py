"""`ragline why`: one paragraph about a job or a document for somebody who was woken up."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2
from rich.console import Console
from rich.text import Text

from ragline.cli.client import RaglineClient
from ragline.cli.failures import ApiFailure
from ragline.cli.queue_readings import QueueReading, read_queues
from ragline.cli.replies import JobCourse, understood
from ragline.cli.traces.finding import job_of
from ragline.cli.wording import counted, lasting

__all__ = ["Account", "account_for", "account_json", "print_account"]

_PAGE = re.compile(r"^\* \*\*(When|What to do|Operators):\*\* (.+)$", re.MULTILINE)
_NOTHING = "Nothing."


class _Job(JobCourse):
    # Without these there is nothing to account for.
    step: str
    queue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What an operator should know.

    Attributes
    ----------
    sentences
        The paragraph.
    commands
        What to run next, the most useful first.
    """

    job_id: str
    status: str
    trace_id: str
    sentences: tuple[str, ...]
    commands: tuple[str, ...]


def account_for(name: str, client: RaglineClient, *, now: datetime) -> Account:
    """Ask for all there is about a job, or the newest one of a document.

    Raises
    ------
    ApiFailure, ApiUnreachable
        There is no such thing, or nobody to ask.
    """
    job = understood(_Job, job_of(name, client))
    queue, missing = _queue(client, job)
    events = client.events_so_far(job.id)
    sentences = [
        _where(job, now),
        *_silence(job, events, now),
        *_wait(job, queue),
        *missing,
        *_error(job, client),
        "Nothing happens to it any more." if job.ended else f"Next: {job.next.rstrip('.')}.",
    ]
    return Account(
        job_id=job.id,
        status=job.status,
        trace_id=job.trace_id,
        sentences=tuple(sentences),
        commands=_commands(job, queue),
    )


def account_json(account: Account) -> dict[str, Any]:
    """For programs."""
    return asdict(account)


def print_account(account: Account, console: Console) -> None:
    """For people."""
    console.print(Text(" ".join(account.sentences)), soft_wrap=True)
    for command in account.commands:
        console.print(Text.assemble(("  $ ", "dim"), (command, "bold cyan")), soft_wrap=True)


def _where(job: _Job, now: datetime) -> str:
    what = f"Job {job.id} ({job.kind}"
    what += f" of document {job.document_id}" if job.document_id else ""
    what += f" in collection {job.collection})" if job.collection else ")"
    if job.ended and job.finished_at:
        return (
            f"{what} {job.status} {_ago(job.finished_at, now)}, {_span(job.created_at, job.finished_at)} after it came."
        )
    since = f"accepted {_ago(job.created_at, now)}"
    if job.waits:
        return f"{what}, {since}, waits on queue {job.queue} for step {job.step}."
    done = (
        f", {job.progress.done} of {job.progress.total or 'unknown'} {job.progress.unit}" if job.progress.unit else ""
    )
    tries = f", attempt {job.attempts}" if job.attempts > 1 else ""
    pauses = f", handed back {counted(job.interruptions, 'time')}" if job.interruptions else ""
    return f"{what}, {since}, is at step {job.step} on queue {job.queue}{done}{tries}{pauses}."


def _silence(job: _Job, events: Sequence[httpx2.ServerSentEvent], now: datetime) -> list[str]:
    """Since when nothing was heard of it: its last event's id begins with the ledger's clock."""
    milliseconds = (events[-1].id or "").partition("-")[0] if events else ""
    if job.ended or not milliseconds.isdecimal():
        return [] if job.ended else ["No worker has touched it yet."]
    return [f"The last that was heard of it was {_ago(datetime.fromtimestamp(int(milliseconds) / 1000, tz=UTC), now)}."]


def _wait(job: _Job, queue: QueueReading | None) -> list[str]:
    if job.ended or queue is None:
        return []
    alive = len(queue.workers)
    workers = f"{counted(alive, 'worker')} {_are(alive)} alive" if alive else "no worker is alive"
    oldest = f", the oldest for {lasting(queue.oldest_seconds)}" if queue.oldest_seconds else ""
    wait = "waits" if queue.waiting == 1 else "wait"
    flying = f"{queue.in_flight} {_are(queue.in_flight)} in flight"
    counts = f"queue {job.queue} {queue.waiting} {wait}{oldest}, {flying} and {workers}."
    before = job.queue_position
    if before is None:
        return [f"On {counts}"]
    return [f"{counted(before, 'job')} {'stands' if before == 1 else 'stand'} before it; on {counts}"]


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _error(job: _Job, client: RaglineClient) -> list[str]:
    if job.error is None:
        return []
    title = job.error.title or "It failed"
    detail = f": {job.error.detail}" if job.error.detail not in {"", title} else ""
    what = "Why" if job.ended else "Why its last attempt did not go on"
    page = dict(_PAGE.findall(client.error_page(job.error.code)))
    told = [page["When"]] if "When" in page else []
    told += [f"{part}: {page[part]}" for part in ("What to do", "Operators") if page.get(part, _NOTHING) != _NOTHING]
    return [f"{what}: {title}{detail} (code {job.error.code}).", *told]


def _commands(job: _Job, queue: QueueReading | None) -> tuple[str, ...]:
    trace = f"ragline trace {job.id}"
    if job.ended:
        return (trace,) if job.status != "succeeded" else ()
    if queue is not None and (job.waits or not queue.workers):
        return (f"ragline explain-scale {job.queue}", "ragline top", trace)
    return (trace, "ragline top")


def _queue(client: RaglineClient, job: _Job) -> tuple[QueueReading | None, list[str]]:
    if job.ended:
        return None, []
    try:
        readings = read_queues(client)
    except ApiFailure as failure:
        return None, [f"The queues cannot be read: {failure}."]
    return next((queue for queue in readings.queues if queue.name == job.queue), None), []


def _ago(then: datetime, now: datetime) -> str:
    return f"{_span(then, now)} ago"


def _span(then: datetime, now: datetime) -> str:
    return lasting(max((now - then).total_seconds(), 0))
