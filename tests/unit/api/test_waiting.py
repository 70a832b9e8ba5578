"""How a request waits for its job, with a ledger that follows a script."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any, cast

import orjson
import pytest
import structlog
from fastapi import Request
from structlog.testing import capture_logs

from ragline.api import waiting
from ragline.api.waiting import JobReader
from ragline.common.errors import (
    AttemptsExhausted,
    Cancelled,
    InternalError,
    NoText,
    NotFound,
    RagError,
    RejectedError,
    TransientError,
)
from ragline.common.models import Event, JobError, JobRecord, JobState
from ragline.common.queues import JobKind, Queue, Step
from ragline.stores.ledger.accepting import AcceptLedger

DONE = Event(id="9-0", type="done", data={"state": "succeeded"})
TOKEN = Event(id="1-0", type="token", data={"text": "Hi\nthere é"})
PROGRESS = Event(id="2-0", type="progress", data={"done": 1})
SILENCE = None
AWAY = TransientError("redis", "read events", "ConnectionError")

Script = Iterable[Event | RagError | None]


def _job(state: JobState, *, error: JobError | None = None, result: object = None) -> JobRecord:
    empty: dict[str, Any] = dict.fromkeys(JobRecord.__dataclass_fields__, "")
    job = JobRecord(**{**empty, "id": "job_1", "kind": JobKind.QUERY, "step": Step.ANSWER, "queue": Queue.RAG})
    return replace(job, state=state, error=error, result=result)


SUCCEEDED = _job(JobState.SUCCEEDED, result={"answer": "42"})
RUNNING = _job(JobState.RUNNING)


@dataclass
class ScriptedLedger:
    """Gives the events of its script, then silence for ever; notes who cancels."""

    script: Script = ()
    record: JobRecord = SUCCEEDED
    refusal: RagError | None = None
    cancelled: list[tuple[str, str]] = field(default_factory=list)
    followed: list[tuple[str, float]] = field(default_factory=list)

    async def follow(self, job_id: str, *, after: str = "0", block_seconds: float = 1.0) -> AsyncIterator[Event | None]:
        assert job_id == "job_1"
        self.followed.append((after, block_seconds))
        for event in self.script:
            if isinstance(event, RagError):
                raise event
            await asyncio.sleep(0)
            yield event
            if event is DONE:
                return
        while True:
            await asyncio.sleep(0)
            yield None

    async def job(self, tenant: str, job_id: str) -> JobRecord:
        assert (tenant, job_id) == ("tenant", "job_1")
        return self.record

    async def cancel(self, tenant: str, job_id: str) -> None:
        self.cancelled.append((tenant, job_id))
        if self.refusal:
            raise self.refusal


class Client:
    """A request whose client leaves after so many looks."""

    def __init__(self, *, stays: float = float("inf")) -> None:
        self._stays = stays

    async def is_disconnected(self) -> bool:
        self._stays -= 1
        return self._stays < 0


class Clock:
    """Time that goes on by a step with every look."""

    def __init__(self, step_seconds: float) -> None:
        self._now = 1000.0
        self._step_seconds = step_seconds

    def monotonic(self) -> float:
        self._now += self._step_seconds
        return self._now


CANCELLED = [("tenant", "job_1")]

_STUCK_SECONDS = 5


def _reader(ledger: ScriptedLedger, *, owned: bool = True) -> JobReader:
    return JobReader(cast("AcceptLedger", ledger), tenant="tenant", job_id="job_1", owned=owned)


def _answer(ledger: ScriptedLedger, *, client: Client | None = None, timeout_seconds: float = 60) -> JobRecord:
    request = cast("Request", client or Client())
    answer = _reader(ledger).answer(request, timeout_seconds=timeout_seconds)
    return asyncio.run(asyncio.wait_for(answer, _STUCK_SECONDS))


def _events(
    ledger: ScriptedLedger, *, client: Client | None = None, most: int = 100, owned: bool = False, after: str = "0"
) -> list[bytes]:
    """At most so many frames; then the reader is closed, as a server does when its client leaves."""

    async def collect() -> list[bytes]:
        stream = _reader(ledger, owned=owned).server_sent_events(cast("Request", client or Client()), after=after)
        frames: list[bytes] = []
        async for frame in stream:
            frames.append(frame)
            if len(frames) == most:
                await cast("Any", stream).aclose()
                break
        return frames

    return asyncio.run(asyncio.wait_for(collect(), _STUCK_SECONDS))


@pytest.fixture
def at_pace(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets every look at the clock take so many seconds."""

    def set_pace(step_seconds: float) -> None:
        monkeypatch.setattr(waiting, "time", Clock(step_seconds))

    return set_pace


def test_an_answer_is_the_job_that_succeeded() -> None:
    ledger = ScriptedLedger([PROGRESS, SILENCE, TOKEN, DONE])

    assert _answer(ledger).result == {"answer": "42"}
    assert ledger.cancelled == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("not_found", NotFound),
        ("dependency_rejected", RejectedError),
        ("dependency_unavailable", TransientError),
        ("attempts_exhausted", AttemptsExhausted),
        ("a_code_of_a_newer_release", InternalError),
    ],
)
def test_a_failure_is_its_error_again(code: str, kind: type[RagError]) -> None:
    failed = _job(JobState.FAILED, error=JobError(code=code, detail="openai chat: HTTP 401"))

    with pytest.raises(kind) as raised:
        _answer(ScriptedLedger([DONE], failed))
    assert (type(raised.value), raised.value.detail) == (kind, "openai chat: HTTP 401")


def test_a_job_that_somebody_cancelled_says_so() -> None:
    with pytest.raises(Cancelled):
        _answer(ScriptedLedger([DONE], _job(JobState.CANCELLED)))


@pytest.mark.parametrize("events", [[], repeat(TOKEN)], ids=["silent", "trickling"])
def test_the_timeout_ends_the_wait_and_the_job(events: Iterable[Event], at_pace: Callable[[float], None]) -> None:
    at_pace(1.0)
    ledger = ScriptedLedger(events, RUNNING)

    with pytest.raises(TransientError, match="no answer within 30 s"):
        _answer(ledger, timeout_seconds=30)
    assert ledger.cancelled == CANCELLED


def test_a_job_that_others_may_wait_for_goes_on(at_pace: Callable[[float], None]) -> None:
    """A retry with the same Idempotency-Key finds its answer."""
    at_pace(61)
    ledger = ScriptedLedger([None], RUNNING)
    with pytest.raises(TransientError):
        asyncio.run(_reader(ledger, owned=False).answer(cast("Request", Client()), timeout_seconds=60))
    assert ledger.cancelled == []


def test_an_answer_that_is_there_is_never_late(at_pace: Callable[[float], None]) -> None:
    at_pace(100.0)
    ledger = ScriptedLedger([DONE])

    assert _answer(ledger, timeout_seconds=1) is SUCCEEDED
    assert ledger.cancelled == []


@pytest.mark.parametrize("events", [[], repeat(TOKEN)], ids=["silent", "trickling"])
def test_a_client_that_leaves_cancels_its_question(events: Iterable[Event]) -> None:
    ledger = ScriptedLedger(events, RUNNING)

    with pytest.raises(TransientError):
        _answer(ledger, client=Client(stays=3))
    assert ledger.cancelled == CANCELLED


def test_a_ledger_that_goes_away_ends_the_wait() -> None:
    ledger = ScriptedLedger([TOKEN, AWAY], RUNNING)

    with pytest.raises(TransientError) as raised:
        _answer(ledger)
    assert raised.value is AWAY
    assert ledger.cancelled == CANCELLED


def test_an_answer_that_cannot_be_cancelled_ends_as_it_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "logger", structlog.get_logger())
    ledger = ScriptedLedger([], RUNNING, refusal=AWAY)

    with capture_logs() as logs, pytest.raises(TransientError, match="no answer within"):
        _answer(ledger, client=Client(stays=0))
    assert [line["event"] for line in logs] == ["question not cancelled"]


@pytest.mark.parametrize("events", [[], repeat(PROGRESS)], ids=["silent", "busy"])
def test_a_long_poll_ends_with_its_timeout(events: Iterable[Event], at_pace: Callable[[float], None]) -> None:
    at_pace(1.0)
    ledger = ScriptedLedger(events, RUNNING)

    job = asyncio.run(asyncio.wait_for(_reader(ledger).ended(timeout_seconds=20), _STUCK_SECONDS))

    assert job is RUNNING
    assert ledger.cancelled == []


@pytest.mark.parametrize(("timeout_seconds", "block_seconds"), [(20, 1.0), (0.25, 0.25)])
def test_a_long_poll_ends_with_the_job(timeout_seconds: float, block_seconds: float) -> None:
    ledger = ScriptedLedger([PROGRESS, SILENCE, DONE])

    assert asyncio.run(_reader(ledger).ended(timeout_seconds=timeout_seconds)) is SUCCEEDED
    assert ledger.followed == [("0", block_seconds)]


def test_events_are_server_sent_events_up_to_the_last_one() -> None:
    frames = _events(ScriptedLedger([PROGRESS, SILENCE, TOKEN, DONE, TOKEN]), after="7-0")

    assert [_fields(frame)["event"] for frame in frames] == ["progress", "token", "done"]
    assert [_fields(frame)["id"] for frame in frames] == ["2-0", "1-0", "9-0"]
    assert orjson.loads(_fields(frames[1])["data"]) == {"text": "Hi\nthere é"}
    assert all(frame.endswith(b"\n\n") for frame in frames)


def test_a_stream_resumes_where_it_was() -> None:
    ledger = ScriptedLedger([DONE])
    _events(ledger, after="7-3")

    assert ledger.followed == [("7-3", 1.0)]


def test_a_heartbeat_comes_after_silence_only(
    monkeypatch: pytest.MonkeyPatch, at_pace: Callable[[float], None]
) -> None:
    monkeypatch.setattr(waiting, "_HEARTBEAT_SECONDS", 2.5)
    at_pace(1.0)
    silence: list[Event | None] = [SILENCE] * 7

    frames = _events(ScriptedLedger([*silence, TOKEN, SILENCE, DONE]))

    assert [frame for frame in frames if frame.startswith(b":")] == [b": waiting\n\n"] * 2
    assert [_fields(frame).get("event") for frame in frames] == [None, None, "token", "done"]


@pytest.mark.parametrize(("owned", "cancelled"), [(True, CANCELLED), (False, [])])
def test_a_reader_that_leaves_in_a_silence_cancels_what_is_its_own(
    *, owned: bool, cancelled: list[tuple[str, str]]
) -> None:
    ledger = ScriptedLedger([TOKEN, SILENCE], RUNNING)

    assert len(_events(ledger, client=Client(stays=0), owned=owned)) == 1
    assert ledger.cancelled == cancelled


@pytest.mark.parametrize(("owned", "cancelled"), [(True, CANCELLED), (False, [])])
def test_a_stream_that_is_closed_cancels_what_is_its_own(*, owned: bool, cancelled: list[tuple[str, str]]) -> None:
    ledger = ScriptedLedger([TOKEN] * 10, RUNNING)

    assert len(_events(ledger, most=3, owned=owned)) == 3
    assert ledger.cancelled == cancelled


def test_a_stream_whose_task_is_cancelled_cancels_what_is_its_own() -> None:
    ledger = ScriptedLedger([], RUNNING)

    async def serve() -> None:
        async for _ in _reader(ledger).events(cast("Request", Client())):
            pytest.fail("there is nothing to read")

    async def leave() -> None:
        task = asyncio.create_task(serve())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(leave())
    assert ledger.cancelled == CANCELLED


def test_a_finished_job_is_not_cancelled_by_its_reader() -> None:
    ledger = ScriptedLedger([TOKEN, DONE])
    _events(ledger, owned=True)

    assert ledger.cancelled == []


@pytest.mark.parametrize("before", [[], [TOKEN, TOKEN]], ids=["at-once", "later"])
def test_a_ledger_that_goes_away_is_the_last_event(before: Iterable[Event]) -> None:
    frames = _events(ScriptedLedger([*before, AWAY]))

    last = _fields(frames[-1])
    assert (last["event"], "id" in last) == ("error", False)
    assert orjson.loads(last["data"]) == {
        "code": "dependency_unavailable",
        "title": AWAY.title,
        "detail": AWAY.detail,
        "retryable": True,
    }


@pytest.mark.parametrize(("kind", "retryable"), [(NoText, False), (AttemptsExhausted, True)])
def test_a_job_that_fails_says_whether_another_try_makes_sense(kind: type[RagError], *, retryable: bool) -> None:
    failed = Event(id="8-0", type="error", data={"code": kind.code, "detail": "why"})

    error, done = _events(ScriptedLedger([failed, DONE]))

    told = {"code": kind.code, "title": kind.title, "detail": "why", "retryable": retryable}
    assert (orjson.loads(_fields(error)["data"]), _fields(error)["id"]) == (told, "8-0")
    assert _fields(done)["event"] == "done"


def test_a_question_that_cannot_be_cancelled_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "logger", structlog.get_logger())
    ledger = ScriptedLedger([TOKEN, AWAY], RUNNING, refusal=AWAY)

    with capture_logs() as logs:
        assert len(_events(ledger, owned=True)) == 2
    assert [(line["event"], line["job_id"], line["log_level"]) for line in logs] == [
        ("question not cancelled", "job_1", "warning")
    ]


def _fields(frame: bytes) -> dict[str, str]:
    lines = [line for line in frame.decode().splitlines() if line and not line.startswith(":")]
    return dict(line.split(": ", 1) for line in lines)
