"""How the base task ends a step, with a ledger that only takes notes."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest
from celery.exceptions import Reject

from ragline.common.config import ConfigError
from ragline.common.constants import MAX_ATTEMPTS, MAX_TRANSIENT_ATTEMPTS, RETRY_BACKOFF_LIMIT
from ragline.common.errors import NoText, RagError, TransientError
from ragline.common.models import JobRecord, JobState
from ragline.common.queues import JobKind, Queue, Step
from ragline.pipeline.protocols import StepControl, StepDelegated, StepDone, StepOutcome, StepUnfinished
from ragline.stores.ledger.claims import Claim, ClaimLost, ClaimState
from ragline.stores.ledger.working import KeptAnswer
from ragline.worker import base
from ragline.worker.base import RaglineCelery, StepTask, retry_delay
from ragline.worker.context import ProcessContext


@dataclass
class NotedLedger:
    """Gives one claim and notes every report."""

    claimed: Claim | None
    reports: list[tuple[Any, ...]] = field(default_factory=list)
    lose: bool = False

    def claim(self, *_: object, **__: object) -> Claim | None:
        return self.claimed

    def advance(self, _claim: Claim, step: Step) -> None:
        self._note("advance", step)

    def fail(self, _claim: Claim, error: RagError) -> None:
        self._note("fail", error.code)

    def finish(self, _claim: Claim, result: object, kept: KeptAnswer | None) -> None:
        self._note("finish", result, kept)

    def hand_back(self, _claim: Claim, *, interrupted: bool, progressed: bool) -> None:
        self._note("hand_back", interrupted, progressed)

    def retry(self, _claim: Claim, error: RagError, _delay: timedelta, *, max_attempts: int) -> bool:
        self._note("retry", error.code, max_attempts)
        return True

    def _note(self, *report: object) -> None:
        if self.lose:
            raise ClaimLost(ClaimState.LOST)
        self.reports.append(report)


class Keeper:
    """Keeps a claim without renewing it."""

    def keep(self, claim: Claim) -> AbstractContextManager[Any]:
        return nullcontext(SimpleNamespace(claim=claim, job=claim.job, interrupted=True))


def _claim(step: Step) -> Claim:
    kind = JobKind.QUERY if step is Step.ANSWER else JobKind.INGEST
    empty: dict[str, Any] = dict.fromkeys(JobRecord.__dataclass_fields__, "")
    job = JobRecord(
        **{
            **empty,
            "id": "job_1",
            "kind": kind,
            "document_id": "" if kind is JobKind.QUERY else "doc_1",
            "state": JobState.RUNNING,
            "step": step,
            "queue": Queue.RAG,
            "attempts": 1,
        }
    )
    return Claim(job=job, token="1", checkpoint={}, queued_at=0, claimed_at=0)


def _nothing() -> None:
    """Body of the test's task; `run_step` is called by hand."""


def _run(
    step: Step, run: Callable[[StepControl], StepOutcome], *, lose: bool = False, stop: bool = False
) -> list[tuple[Any, ...]]:
    ledger = NotedLedger(claimed=_claim(step), lose=lose)
    app = RaglineCelery("test", set_as_current=False)
    stopping = Event()
    if stop:
        stopping.set()
    parts = {"ledger": ledger, "keeper": Keeper(), "part": lambda build: build(None)}
    app.context = cast("ProcessContext", SimpleNamespace(worker="w", stopping=stopping, **parts))
    task = app.task(_nothing, base=StepTask, name="test_task")
    task.run_step({"v": 1, "job_id": "job_1", "step": step}, lambda _: SimpleNamespace(run=run))
    return ledger.reports


def _raising(error: Exception) -> Callable[[StepControl], StepOutcome]:
    def run(_: StepControl) -> StepOutcome:
        raise error

    return run


def test_a_done_step_queues_the_next_one() -> None:
    assert _run(Step.CONVERT, lambda _: StepDone()) == [("advance", Step.SPLIT)]


def test_the_last_step_ends_the_job_with_its_result() -> None:
    assert _run(Step.INDEX, lambda _: StepDone(result={"chunks": 3})) == [("finish", {"chunks": 3}, None)]


def test_an_answer_that_may_be_given_again_is_kept() -> None:
    kept = KeptAnswer(generation=3, profile="model-1", events=[("token", {"text": "Five."})])
    assert _run(Step.ANSWER, lambda _: StepDone(result={"answer": "Five."}, kept=kept)) == [
        ("finish", {"answer": "Five."}, kept)
    ]


def test_an_unfinished_step_is_handed_back() -> None:
    assert _run(Step.INDEX, lambda _: StepUnfinished(progressed=True)) == [("hand_back", True, True)]


def test_a_delegated_step_is_left_alone() -> None:
    assert _run(Step.WORKFLOW, lambda _: StepDelegated()) == []


def test_a_document_error_fails_the_job_at_once() -> None:
    assert _run(Step.CONVERT, _raising(NoText("no text"))) == [("fail", "no_text")]


@pytest.mark.parametrize(("step", "limit"), [(Step.INDEX, MAX_TRANSIENT_ATTEMPTS), (Step.ANSWER, MAX_ATTEMPTS)])
def test_an_outage_is_waited_out_longer_when_nobody_waits(step: Step, limit: int) -> None:
    error = TransientError("chroma", "add", "refused")

    assert _run(step, _raising(error)) == [("retry", "dependency_unavailable", limit)]


def test_a_defect_is_tried_again_a_few_times_only() -> None:
    assert _run(Step.INDEX, _raising(ZeroDivisionError())) == [("retry", "internal_error", MAX_ATTEMPTS)]


def test_wrong_settings_wait_for_an_operator_and_fail_no_document() -> None:
    error = ConfigError("The embedding model's folder holds no model.onnx")

    assert _run(Step.INDEX, _raising(error)) == [("retry", "dependency_unavailable", MAX_TRANSIENT_ATTEMPTS)]


@pytest.mark.parametrize("run", [lambda _: StepDone(), _raising(NoText("x")), _raising(KeyError("x"))])
def test_a_lost_claim_ends_silently(run: Callable[[StepControl], StepOutcome]) -> None:
    assert _run(Step.INDEX, run, lose=True) == []


@pytest.mark.parametrize("state", [ClaimState.LOST, ClaimState.CANCELLED])
def test_a_step_that_hears_of_it_on_its_way_reports_nothing(state: ClaimState) -> None:
    assert _run(Step.INDEX, _raising(ClaimLost(state))) == []


def test_a_message_of_a_newer_release_is_rejected_back_to_its_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_PUT_BACK_PAUSE_SECONDS", 0)

    with pytest.raises(Reject) as rejected:
        StepTask().run_step({"v": 2}, lambda _: SimpleNamespace(run=lambda _: StepDone()))

    assert rejected.value.requeue


def test_a_worker_that_stops_claims_nothing_more() -> None:
    with pytest.raises(Reject) as rejected:
        _run(Step.INDEX, _raising(AssertionError("claimed")), stop=True)

    assert rejected.value.requeue


def test_delays_double_up_to_a_minute_and_obey_retry_after() -> None:
    plain = TransientError("x", "y", "z")
    asked = TransientError("x", "y", "z", retry_after=timedelta(seconds=7))

    assert timedelta(seconds=0.5) <= retry_delay(1, plain) <= timedelta(seconds=1)
    assert timedelta(seconds=2) <= retry_delay(3, plain) <= timedelta(seconds=4)
    assert retry_delay(99, plain) <= RETRY_BACKOFF_LIMIT
    assert retry_delay(1, asked) == timedelta(seconds=7)
    assert retry_delay(1, TransientError("x", "y", "z", retry_after=timedelta(hours=1))) == RETRY_BACKOFF_LIMIT
