"""How claims are kept alive, and how a running step learns that it is over."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event
from typing import Any, cast

import pytest

from ragline.common.errors import TransientError
from ragline.stores.ledger.claims import Claim, ClaimState
from ragline.stores.ledger.working import WorkLedger
from ragline.worker import leases
from ragline.worker.leases import LeaseKeeper, RunningStep
from tests.support.steps import make_job
from tests.support.waiting import wait_until


@dataclass
class RenewingLedger:
    """Answers renewals from a script, then always with yes."""

    script: list[ClaimState | Exception] = field(default_factory=list)
    renewed: int = 0
    last: tuple[str, ...] = ()

    def renew(self, claims: Sequence[Claim]) -> list[ClaimState]:
        self.renewed += 1
        self.last = tuple(claim.token for claim in claims)
        answer = self.script.pop(0) if self.script else ClaimState.OK
        if isinstance(answer, Exception):
            raise answer
        return [answer] * len(claims)


@pytest.fixture
def ledger() -> RenewingLedger:
    return RenewingLedger()


@pytest.fixture
def keeper(ledger: RenewingLedger, monkeypatch: pytest.MonkeyPatch) -> Iterator[LeaseKeeper]:
    monkeypatch.setattr(leases, "LEASE_RENEWAL", timedelta(milliseconds=2))
    keeper = LeaseKeeper(cast("WorkLedger", ledger), Event())
    yield keeper
    keeper.close()


def _claim(token: str) -> Claim:
    return Claim(job=make_job(), token=token, checkpoint={}, queued_at=0, claimed_at=0)


def _step(**changes: Any) -> RunningStep:  # noqa: ANN401 - attributes of a step
    step = RunningStep(
        _claim("1"), ledger=cast("WorkLedger", RenewingLedger()), stopping=changes.pop("stopping", Event())
    )
    for name, value in changes.items():
        setattr(step, name, value)
    return step


def test_a_claim_is_renewed_while_its_step_runs_and_no_longer(keeper: LeaseKeeper, ledger: RenewingLedger) -> None:
    with keeper.keep(_claim("long")) as step:
        with keeper.keep(_claim("short")):
            wait_until(lambda: ledger.last == ("long", "short"), timeout_seconds=5)
        wait_until(lambda: ledger.last == ("long",), timeout_seconds=5)
        assert not step.should_stop()


@pytest.mark.parametrize("state", [ClaimState.LOST, ClaimState.CANCELLED])
def test_a_step_whose_claim_is_gone_is_told_to_stop(
    keeper: LeaseKeeper, ledger: RenewingLedger, state: ClaimState
) -> None:
    ledger.script.append(state)

    with keeper.keep(_claim("1")) as step:
        wait_until(step.should_stop, timeout_seconds=5)
        assert not step.interrupted


@pytest.mark.parametrize("error", [TransientError("redis", "renew", "away"), KeyError("a defect")])
def test_an_error_does_not_end_the_keeper(keeper: LeaseKeeper, ledger: RenewingLedger, error: Exception) -> None:
    ledger.script.append(error)

    with keeper.keep(_claim("1")) as step:
        wait_until(lambda: ledger.renewed >= 3, timeout_seconds=5)
        assert not step.lost


def test_a_step_that_hangs_loses_its_claim(
    keeper: LeaseKeeper, ledger: RenewingLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with keeper.keep(_claim("1")) as step:
        wait_until(lambda: ledger.renewed >= 1, timeout_seconds=5)
        monkeypatch.setattr(leases, "CLAIM_LIMIT", timedelta())
        wait_until(lambda: step.lost, timeout_seconds=5)


def test_a_spent_budget_and_a_stopping_worker_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    stopping = Event()
    step = _step(stopping=stopping)
    assert not step.should_stop()

    monkeypatch.setattr(leases, "STEP_BUDGET", timedelta(seconds=-1))
    assert (step.should_stop(), step.interrupted) == (True, False)
    stopping.set()

    assert (step.should_stop(), step.interrupted) == (True, True)
