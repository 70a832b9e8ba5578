"""Keeps the claims of this process alive and tells running steps when to stop."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import structlog

from ragline.common.constants import CLAIM_LIMIT, LEASE_RENEWAL, STEP_BUDGET
from ragline.common.errors import RagError
from ragline.common.models import JobRecord
from ragline.stores.ledger.claims import Claim, ClaimState
from ragline.stores.ledger.working import WorkLedger

__all__ = ["LeaseKeeper", "RunningStep", "StopSignal"]

logger = structlog.get_logger(__name__)


class StopSignal(Protocol):
    """Set when the worker is told to stop; shared by the pool's processes."""

    def is_set(self) -> bool:
        """Whether the worker stops."""


class RunningStep:
    """A claimed step on its way; what the pipeline sees as `StepControl`."""

    def __init__(self, claim: Claim, *, ledger: WorkLedger, stopping: StopSignal) -> None:
        self.claim = claim
        self.lost = False
        self._ledger = ledger
        self._stopping = stopping
        self._started = time.monotonic()

    @property
    def interrupted(self) -> bool:
        """Whether the worker, not the budget, is the reason to stop."""
        return self._stopping.is_set()

    @property
    def job(self) -> JobRecord:
        """See `StepControl.job`."""
        return self.claim.job

    def report(
        self,
        *,
        progress: tuple[int, int, str] | None = None,
        checkpoint: Mapping[str, Any] | None = None,
        events: Sequence[tuple[str, Mapping[str, Any]]] = (),
    ) -> None:
        """See `StepControl.report`."""
        self._ledger.record(self.claim, progress=progress, checkpoint=checkpoint, events=events)

    @property
    def hangs(self) -> bool:
        """Whether it has had its claim for longer than any honest step."""
        return self._spent > CLAIM_LIMIT.total_seconds()

    def should_stop(self) -> bool:
        """See `StepControl.should_stop`."""
        return self.lost or self._stopping.is_set() or self._spent > STEP_BUDGET.total_seconds()

    @property
    def _spent(self) -> float:
        """Seconds since the claim."""
        return time.monotonic() - self._started


class LeaseKeeper:
    """One thread that renews all claims of this process together.

    Parameters
    ----------
    ledger
        Renews them.
    stopping
        Handed to every running step.
    """

    def __init__(self, ledger: WorkLedger, stopping: StopSignal) -> None:
        self._ledger = ledger
        self._stopping = stopping
        self._running: list[RunningStep] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._renew_for_ever, name="lease-keeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join(timeout=5)

    @contextmanager
    def keep(self, claim: Claim) -> Iterator[RunningStep]:
        """Renew the claim while the body runs."""
        step = RunningStep(claim, ledger=self._ledger, stopping=self._stopping)
        with self._lock:
            self._running.append(step)
        try:
            yield step
        finally:
            with self._lock:
                self._running.remove(step)

    def _renew_for_ever(self) -> None:
        while not self._closed.wait(LEASE_RENEWAL.total_seconds()):
            with self._lock:
                steps = list(self._running)
            try:
                self._renew(steps)
            except RagError as error:
                logger.warning("leases not renewed", claims=len(steps), next="another try soon", **error.to_log())
            except Exception:
                logger.exception("leases not renewed by a defect", claims=len(steps), next="another try soon")

    def _renew(self, running: Sequence[RunningStep]) -> None:
        for step in running:
            if step.hangs and not step.lost:
                logger.error("step hangs", job_id=step.job.id, step=str(step.job.step), next="its lease runs out")
                step.lost = True
        steps = [step for step in running if not step.lost]
        if not steps:
            return
        states = self._ledger.renew([step.claim for step in steps])
        for step, state in zip(steps, states, strict=True):
            if state is not ClaimState.OK:
                step.lost = True
