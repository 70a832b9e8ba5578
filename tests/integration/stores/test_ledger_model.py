"""The real ledger against a model of it, driven by Hypothesis: workers crash, messages vanish and double, time passes.

``RAGLINE_HYPOTHESIS_PROFILE=nightly`` runs longer and with new random steps each time.
"""

import itertools
import json
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from typing_extensions import override

from ragline.common.constants import DEFAULT_TENANT
from ragline.common.errors import Conflict, InternalError, NotFound, TransientError
from ragline.common.messages import StepMessage
from ragline.common.models import DocumentState
from ragline.common.queues import NEXT_STEP, JobKind, Queue, Step
from ragline.stores.ledger import accepting, scripts, working
from ragline.stores.ledger.claims import Claim, ClaimLost
from ragline.stores.ledger.keys import events_key, job_key
from ragline.stores.ledger.scripts import script_source
from tests.support.ledger import (
    Ledger,
    expire_lease,
    hold_grace,
    make_retry_due,
    new_query,
    pass_half_grace,
    step_message,
)
from tests.support.ledger_model import CHUNKS, DocumentModel, JobModel, LedgerModel
from tests.support.ledger_snapshot import check_against, check_changes, check_sweep, take_snapshot

NIGHTLY = os.environ.get("RAGLINE_HYPOTHESIS_PROFILE") == "nightly"

SETTINGS = settings(
    max_examples=2_000 if NIGHTLY else 100,
    stateful_step_count=80 if NIGHTLY else 60,
    derandomize=not NIGHTLY,
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)

MAX_OPEN = 4
"""Jobs at a time; with more, few would come far."""

REMEMBERED = 5
"""Messages and claims that workers come back with though they are of no use any more."""

KNOWN_QUEUE = 20
"""Longest list in which the sweeper recognises every message, in whatever order kombu left them."""

PICK = st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, 4, 5])
"""Which of several things, the newest first: what is new is where something happens."""

GO_ON = st.tuples(st.integers(0, 4), st.sampled_from(["all", "all", "begun", "committed", "crashed"]))
"""How many steps an honest worker does, and how far it comes with the last one."""

WORKERS = st.sampled_from(["worker-1", "worker-2", "worker-3"])
LONG = timedelta(hours=1)
"""Leases and delays end when a rule says so."""

AWAY = TransientError("chroma", "add", "refused")
BROKEN = InternalError("broken")


class LedgerMachine(RuleBasedStateMachine):
    """Every rule does the same to the ledger and to the model; the invariants compare them."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger
        self.client = ledger.client
        self.client.flushdb()
        self.model = LedgerModel()
        self.hands: list[StepMessage] = []
        self.claims: list[Claim] = []
        self.swept = False
        self.spans = itertools.count()
        self.seen = take_snapshot(self.client, self.model)

    # Accepting

    @precondition(lambda self: len(self._open()) < MAX_OPEN)
    @rule(name=st.sampled_from(["x.pdf", "y.pdf"]), content=st.sampled_from(sorted(CHUNKS)), then=GO_ON)
    def upload(self, name: str, content: str, then: tuple[int, str]) -> None:
        joins, unchanged = self.model.upload_joins(name, content), self.model.upload_is_unchanged(name, content)
        named = self.model.named(name)
        submission = self.ledger.upload(name=name, content=content)
        assert submission.document_id is not None
        assert submission.unchanged == (bool(joins) or unchanged)
        assert named is None or submission.document_id == named.id
        if joins:
            assert submission.job_id == joins
        elif unchanged:
            self.model.upload_unchanged(name, job_id=submission.job_id)
        else:
            self.model.upload(name, content, job_id=submission.job_id, document_id=submission.document_id)
        self._go_on(*then)

    @precondition(lambda self: self.model.documents and len(self._open()) < MAX_OPEN)
    @rule()
    def ask(self) -> None:
        self.model.submit(JobKind.QUERY, job_id=self.ledger.submit(new_query()).job_id)

    @precondition(lambda self: self.model.documents)
    @rule(pick=PICK, how=st.sampled_from(["cancel", "delete"]))
    def end(self, pick: int, how: str) -> None:
        if how == "cancel":
            self._cancel(_picked([*self._ended(), *self._open()], pick))
        else:
            self._delete(_picked(list(self.model.documents.values()), pick))

    # Messages

    @precondition(lambda self: self.seen.filled and self.seen.longest < KNOWN_QUEUE)
    @rule(pick=PICK, end=st.sampled_from(["lpush", "rpush"]), double=st.booleans())
    def put_back(self, pick: int, end: str, double: bool) -> None:
        """Kombu puts back a message whose first copy is still on its way, or not."""
        queue = _picked(self.seen.filled, pick)
        raw = self.client.lindex(queue, -1) if double else self.client.rpop(queue)
        getattr(self.client, end)(queue, json.dumps(json.loads(raw)))

    @precondition(lambda self: self.seen.filled)
    @rule(pick=PICK)
    def take(self, pick: int) -> None:
        """A worker takes a message; it may claim the step later, or never."""
        self._remember(self.ledger.take(_picked(self.seen.filled, pick)))

    # Workers

    @precondition(lambda self: self.seen.filled)
    @rule(pick=PICK, worker=WORKERS)
    def start(self, pick: int, worker: str) -> None:
        """A worker takes a message and claims its step."""
        self._remember(self.ledger.take(_picked(self.seen.filled, pick)))
        self._claim(self.hands[-1], worker)

    @rule(then=GO_ON)
    def go_on(self, then: tuple[int, str]) -> None:
        """An honest worker does what waits."""
        self._go_on(*then)

    @precondition(lambda self: self.hands)
    @rule(pick=PICK, worker=WORKERS)
    def start_late(self, pick: int, worker: str) -> None:
        """A worker claims with a message it has had for long, or with a second copy."""
        self._claim(_picked(self.hands, pick), worker)

    @precondition(lambda self: self.claims)
    @rule(
        pick=PICK,
        how=st.sampled_from(["work", "work", "report", "hand_back", "fail", "retry", "renew"]),
        data=st.data(),
    )
    def act(self, pick: int, how: str, data: st.DataObject) -> None:
        """A worker reports, whether its claim still holds or not."""
        claim = _picked(self.claims, pick)
        match how:
            case "hand_back":
                self._hand_back(claim, interrupted=data.draw(st.booleans()), progressed=data.draw(st.booleans()))
            case "renew":
                self._renew()
            case "report":
                self._effect(claim, lambda: self.ledger.working.record(claim, progress=(1, 2, "pages")))
            case "fail":
                if self._effect(claim, lambda: self.ledger.working.fail(claim, BROKEN)):
                    self.model.fail(claim.job.id, BROKEN.code)
            case "retry":
                self._retry(claim)
            case _:
                self._work(claim)

    # Time

    @precondition(lambda self: self._jobs("leased") + self._jobs("delayed"))
    @rule(pick=PICK, sweep=st.booleans())
    def time_passes(self, pick: int, sweep: bool) -> None:
        """A lease or a delay is over."""
        job = _picked(self._jobs("leased") + self._jobs("delayed"), pick)
        self._expire(job)
        if sweep:
            self._sweep(half_grace=False)

    @rule(half_grace=st.booleans())
    def sweep(self, half_grace: bool) -> None:
        self._sweep(half_grace=half_grace)
        self.swept = True

    # What always holds

    @invariant()
    def the_ledger_is_as_its_model(self) -> None:
        before, self.seen = self.seen, take_snapshot(self.client, self.model)
        check_against(self.model, self.seen)
        check_changes(before, self.seen)
        if self.swept and self.seen.longest <= KNOWN_QUEUE:
            check_sweep(before, self.seen)
        self.swept = False

    # How it ends

    @override
    def teardown(self) -> None:
        """Promise P1: with honest workers and time, every job ends, whatever happened to it before."""
        for _ in range(40):
            if not self._open():
                break
            self._let_everything_be_done()
        assert self._open() == []
        for job_id in self.model.jobs:
            events = [row["type"] for _, row in self.client.xrange(events_key(job_id))]
            assert events.count("done") == 1
            assert events[-1] == "done"
            assert self.client.ttl(job_key(job_id)) > 0
            assert self.client.ttl(events_key(job_id)) > 0

    def _let_everything_be_done(self) -> None:
        for job in self._jobs("leased") + self._jobs("delayed"):
            self._expire(job)
        for _ in range(3):
            self._sweep(half_grace=True)
        for queue in Queue:
            while raw := self.client.rpop(queue):
                if self._claim(step_message(raw), "worker-1"):
                    while self._work(self.claims[-1]):
                        pass

    def _cancel(self, job: JobModel) -> None:
        call = self.ledger.accepting.cancel(DEFAULT_TENANT, job.id)
        if self.model.cancel(job.id):
            self.ledger.run(call)
        else:
            with pytest.raises(Conflict):
                self.ledger.run(call)

    def _claim(self, message: StepMessage, worker: str) -> bool:
        job, span = self.model.jobs[message.job_id], f"span {next(self.spans)}"
        previous_span = job.span
        claim = self.ledger.working.claim(message, worker, lease=LONG, span=span)
        assert (claim is not None) == self.model.claim(message.job_id, message.step, span)
        if claim is not None:
            assert int(claim.token) > int(job.token)
            assert claim.previous_span == previous_span
            job.token = claim.token
            assert 0 < claim.queued_at <= claim.claimed_at
            self.claims = [*self.claims[-REMEMBERED:], claim]
        return claim is not None

    def _delete(self, document: DocumentModel) -> None:
        if document.state is DocumentState.DELETED:
            with pytest.raises(NotFound):
                self.ledger.delete(document.id)
            return
        submission = self.ledger.delete(document.id)
        if document.state is DocumentState.DELETING:
            assert submission.job_id == document.job
        else:
            self.model.delete(document.id, job_id=submission.job_id)

    def _effect(self, claim: Claim, effect: Callable[[], Any]) -> bool:
        """Whether the effect happened."""
        answer = self.model.may(claim.job.id, claim.token)
        if answer == "ok":
            effect()
            return True
        with pytest.raises(ClaimLost) as lost:
            effect()
        assert lost.value.state == answer
        return False

    def _ended(self) -> list[JobModel]:
        return [job for job in self.model.jobs.values() if job.state.final]

    def _expire(self, job: JobModel) -> None:
        if job.step_state == "leased":
            expire_lease(self.client, job.id)
            job.expired = True
        else:
            make_retry_due(self.client, job.id)
            job.due = True

    def _go_on(self, times: int, last: str) -> None:
        """Do what waits; the last step may stop half-way."""
        for left in range(times, 0, -1):
            queue = next((queue for queue in reversed(Queue) if self.client.llen(queue)), None)
            if queue is None:
                return
            self._remember(self.ledger.take(queue))
            if not self._claim(self.hands[-1], "worker-1"):
                continue
            how = "all" if left > 1 else last
            more = how in {"all", "committed"} and self._work(self.claims[-1])
            if more and how == "all":
                self._work(self.claims[-1])
            elif how == "crashed":
                self._expire(self.model.jobs[self.claims[-1].job.id])

    def _hand_back(self, claim: Claim, *, interrupted: bool, progressed: bool) -> None:
        how = {"interrupted": interrupted, "progressed": progressed}
        if self._effect(claim, lambda: self.ledger.working.hand_back(claim, **how)):
            self.model.hand_back(claim.job.id, **how)

    def _jobs(self, step_state: str) -> list[JobModel]:
        return [job for job in self.model.jobs.values() if job.step_state == step_state]

    def _open(self) -> list[JobModel]:
        return [job for job in self.model.jobs.values() if not job.state.final]

    def _remember(self, message: StepMessage) -> None:
        self.hands = [*self.hands[-REMEMBERED:], message]

    def _renew(self) -> None:
        expected = [self.model.may(claim.job.id, claim.token) for claim in self.claims]
        assert self.ledger.working.renew(self.claims) == expected
        for claim, answer in zip(self.claims, expected, strict=True):
            if answer == "ok":
                self.model.jobs[claim.job.id].expired = False

    def _retry(self, claim: Claim) -> None:
        again: list[bool] = []
        if self._effect(claim, lambda: again.append(self.ledger.working.retry(claim, AWAY, LONG))):
            assert again == [self.model.retry(claim.job.id, AWAY.code)]

    def _sweep(self, *, half_grace: bool) -> None:
        (pass_half_grace if half_grace else hold_grace)(self.client)
        assert self.ledger.sweep()[:2] == self.model.sweep()

    def _work(self, claim: Claim) -> bool:
        """True when there is more to do with the claim."""
        ledger, job = self.ledger.working, self.model.jobs[claim.job.id]
        following = NEXT_STEP.get(claim.job.step)
        if following is not None:
            if self._effect(claim, lambda: ledger.advance(claim, following)):
                self.model.advance(job.id, following)
            return False
        if claim.job.step is Step.INDEX and not job.committed:
            if not self._effect(claim, lambda: ledger.commit(claim, pages=1, chunks=CHUNKS[job.content])):
                return False
            self.model.commit(job.id)
            return True
        if self._effect(claim, lambda: ledger.finish(claim, {"done": True})):
            self.model.finish(job.id)
        return False


def _picked(things: list[Any], pick: int) -> Any:  # noqa: ANN401 - one of the things
    return things[-1 - pick % len(things)]


@pytest.mark.timeout(7_200 if NIGHTLY else 120)
@pytest.mark.parametrize("share", [2, 16])
def test_ledger_behaves_like_its_model(share: int, valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two places on a queue most jobs are held for a while; with sixteen, none of these few."""
    monkeypatch.setattr(scripts, "TENANT_SHARE", share)
    monkeypatch.setattr(accepting, "script_source", script_source.__wrapped__)
    monkeypatch.setattr(working, "script_source", script_source.__wrapped__)
    # Random ids would give Redis another order of equals each time, and Hypothesis steps it cannot repeat.
    numbers = itertools.count()
    monkeypatch.setattr("ragline.stores.ledger.accepting.new_id", lambda prefix: f"{prefix}_{next(numbers):024x}")
    with Ledger(valkey_url) as ledger:
        machine: Any = lambda: LedgerMachine(ledger)  # noqa: E731 - typed as the class that Hypothesis asks for
        run_state_machine_as_test(machine, settings=SETTINGS)
