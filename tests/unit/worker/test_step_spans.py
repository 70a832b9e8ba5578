"""A run of a step is a span that says how long it waited, for whom, after which attempt, and what came of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog

from ragline.common.errors import NoText, TransientError
from ragline.common.models import JobRecord, JobState
from ragline.common.queues import JobKind, Queue, Step
from ragline.common.span_names import PREVIOUS_ATTEMPT
from ragline.common.spans import Span, Tracer, use_tracer
from ragline.pipeline.protocols import StepControl, StepDone, StepOutcome, StepUnfinished
from ragline.stores.ledger.claims import Claim, ClaimLost, ClaimState
from ragline.worker import base
from ragline.worker.base import RaglineCelery, StepTask
from ragline.worker.context import ProcessContext

REQUEST = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"
EARLIER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-01"
LEDGERS_NOW_MS = 1_000_000
"""The ledger's clock is not ours."""


@pytest.fixture(autouse=True)
def delivered(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Span]]:
    monkeypatch.setattr(base, "logger", structlog.get_logger())
    spans: list[Span] = []
    use_tracer(Tracer(ratio=0, content=False, deliver=spans.append))
    with structlog.testing.capture_logs():
        yield spans
    use_tracer(None)


class _Ledger:
    """Gives one claim, and takes whatever comes of it."""

    def __init__(self, claimed: Claim | None) -> None:
        self.claimed = claimed
        self.told = ""

    def claim(self, *_: object, span: str, **__: object) -> Claim | None:
        self.told = span
        return self.claimed

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


class _Keeper:
    def keep(self, claim: Claim) -> AbstractContextManager[Any]:
        return nullcontext(SimpleNamespace(claim=claim, job=claim.job, interrupted=False))


def _claim(*, cold: bool = False, previous_span: str = "", waited_ms: int = 3000) -> Claim:
    job = JobRecord(
        **{
            **dict.fromkeys(JobRecord.__dataclass_fields__, ""),
            "id": "job_1",
            "tenant": "acme",
            "document_id": "doc_1",
            "request_id": "req_1",
            "kind": JobKind.INGEST,
            "state": JobState.RUNNING,
            "step": Step.INDEX,
            "queue": Queue.VECTORSTORE,
            "attempts": 2,
        }  # type: ignore[arg-type] # most of it is not looked at
    )
    return Claim(
        job=job,
        token="1",
        checkpoint={},
        queued_at=LEDGERS_NOW_MS - waited_ms,
        claimed_at=LEDGERS_NOW_MS,
        cold=cold,
        previous_span=previous_span,
    )


def _nothing() -> None:
    """Body of the test's task; `run_step` is called by hand."""


def _run(
    claimed: Claim | None,
    run: Callable[[StepControl], StepOutcome] = lambda _: StepDone(),
    *,
    flags: str = "01",
    ready_at: float = 0,
) -> str:
    """The traceparent that the claim was told."""
    ledger = _Ledger(claimed)
    app = RaglineCelery("test", set_as_current=False)
    known = {"ledger": ledger, "keeper": _Keeper(), "part": lambda build: build(None), "ready_at": lambda: ready_at}
    stopping = SimpleNamespace(is_set=lambda: False)
    app.context = cast("ProcessContext", SimpleNamespace(worker="vectorstore@1", stopping=stopping, **known))
    task = app.task(_nothing, base=StepTask, name="test_task")
    task.push_request(traceparent=f"{REQUEST}-{flags}")
    try:
        task.run_step({"v": 1, "job_id": "job_1", "step": Step.INDEX}, lambda _: SimpleNamespace(run=run))
    finally:
        task.pop_request()
    return ledger.told


def _named(spans: list[Span], name: str) -> Span:
    [span] = [span for span in spans if span.name == name]
    return span


def _raising(error: Exception) -> Callable[[StepControl], StepOutcome]:
    def run(_: StepControl) -> StepOutcome:
        raise error

    return run


def test_a_step_and_its_claim_are_below_the_request(delivered: list[Span]) -> None:
    told = _run(_claim())
    step, claim = _named(delivered, "index"), _named(delivered, "claim")
    assert told == step.traceparent
    assert (step.trace_id, step.parent_id, claim.parent_id) == (REQUEST[3:35], REQUEST[36:], step.span_id)
    assert step.attributes == {
        "messaging.system": "celery",
        "messaging.destination.name": "vectorstore",
        "ragline.job_id": "job_1",
        "ragline.document_id": "doc_1",
        "ragline.request_id": "req_1",
        "ragline.tenant": "acme",
        "ragline.kind": "ingest",
        "ragline.attempt": 2,
        "ragline.worker": "vectorstore@1",
        "ragline.outcome": "done",
    }
    assert step.links == []


def test_the_wait_is_as_long_as_the_ledger_says_and_ends_with_the_claim(delivered: list[Span]) -> None:
    _run(_claim(waited_ms=3000))
    wait, step = _named(delivered, "queue wait"), _named(delivered, "index")
    assert wait.ended_ns - wait.started_ns == 3_000_000_000
    assert wait.parent_id == step.parent_id
    assert step.started_ns <= wait.ended_ns <= step.ended_ns


def test_a_cold_queue_shows_when_its_worker_was_there(delivered: list[Span]) -> None:
    _run(_claim(cold=True, waited_ms=3000), ready_at=time.time() - 1)
    start, wait = _named(delivered, "cold start"), _named(delivered, "queue wait")
    assert (start.parent_id, start.started_ns) == (wait.span_id, wait.started_ns)
    assert 1.5 < (start.ended_ns - start.started_ns) / 1e9 < 2.5


@pytest.mark.parametrize(("cold", "ago_seconds"), [(False, 1), (True, 60)])
def test_a_worker_that_was_there_did_not_start_cold(delivered: list[Span], cold: bool, ago_seconds: int) -> None:
    _run(_claim(cold=cold, waited_ms=3000), ready_at=time.time() - ago_seconds)
    assert "cold start" not in [span.name for span in delivered]


def test_an_attempt_links_to_the_one_before(delivered: list[Span]) -> None:
    _run(_claim(previous_span=EARLIER))
    assert _named(delivered, "index").links == [(EARLIER, PREVIOUS_ATTEMPT)]


def test_a_second_copy_of_a_message_leaves_no_span(delivered: list[Span]) -> None:
    _run(None)
    assert delivered == []


@pytest.mark.parametrize(
    ("run", "outcome", "error"),
    [
        (lambda _: StepUnfinished(progressed=True), "handed_back", ""),
        (_raising(ClaimLost(ClaimState.CANCELLED)), "cancelled", ""),
        (_raising(NoText("a text")), "failed", "no_text"),
        (_raising(TransientError("chroma", "add", "a text")), "retried", "dependency_unavailable"),
        (_raising(ZeroDivisionError("a text")), "retried", "ZeroDivisionError"),
    ],
)
def test_it_says_what_came_of_it(
    delivered: list[Span], run: Callable[[StepControl], StepOutcome], outcome: str, error: str
) -> None:
    _run(_claim(), run)
    step = _named(delivered, "index")
    assert (step.attributes["ragline.outcome"], step.error) == (outcome, error)


def test_a_failed_step_is_kept_with_its_wait_though_it_is_not_sampled(delivered: list[Span]) -> None:
    _run(_claim(), _raising(NoText("a text")), flags="00")
    assert [span.name for span in delivered] == ["claim", "queue wait", "index"]


def test_nothing_else_is(delivered: list[Span]) -> None:
    _run(_claim(), flags="00")
    assert delivered == []


def test_untraced_steps_tell_the_claim_nothing() -> None:
    use_tracer(None)
    assert _run(_claim()) == ""
