"""Both sides of the ledger on one real server, messages taken as kombu takes them, and time that passes when told."""

import asyncio
import base64
import json
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

import redis
import redis.asyncio

from ragline.common.constants import DEFAULT_TENANT, LEASE
from ragline.common.messages import StepMessage
from ragline.common.models import CollectionRecord, DocumentRecord, Event, JobRecord, Submission
from ragline.common.queues import FIRST_STEP, NEXT_STEP, ROUTES, JobKind, Queue, Step
from ragline.common.trace_context import TraceContext, new_trace
from ragline.stores.ledger.accepting import AcceptLedger, NewDocument, NewJob
from ragline.stores.ledger.claims import Claim
from ragline.stores.ledger.keys import job_key
from ragline.stores.ledger.working import WorkLedger

__all__ = [
    "COLLECTION",
    "SPACE",
    "Client",
    "Ledger",
    "expire_lease",
    "hold_grace",
    "make_retry_due",
    "message_ids",
    "new_document",
    "new_query",
    "open_sweep",
    "pass_half_grace",
    "pass_outage",
    "queued_key",
    "step_message",
]

COLLECTION = "handbooks"
SPACE = "local/test-model"

T = TypeVar("T")

Client: TypeAlias = Any
"""A `redis.Redis`, whose types say that every answer may have to be awaited."""


def new_document(**overrides: Any) -> NewDocument:  # noqa: ANN401 - the fields of `NewDocument`
    """An upload; `content` stands for its bytes."""
    content = overrides.pop("content", "first content")
    fields: dict[str, Any] = {
        "tenant": DEFAULT_TENANT,
        "collection": COLLECTION,
        "space": SPACE,
        "physical": "ragline-test",
        "name": "handbook.pdf",
        "object_key": f"originals/{content}.pdf",
        "sha256": f"sha256 of {content}",
        "size_bytes": len(content),
        "fingerprint": "pdfium:1000:200",
    }
    return NewDocument(**{**fields, **overrides})


def new_query(**overrides: Any) -> NewJob:  # noqa: ANN401 - the fields of `NewJob`
    """A question."""
    fields: dict[str, Any] = {
        "tenant": DEFAULT_TENANT,
        "kind": JobKind.QUERY,
        "params": {"question": "How many days?", "top_k": 3},
        "collection": COLLECTION,
        "space": SPACE,
    }
    return NewJob(**{**fields, **overrides})


def step_message(raw: str) -> StepMessage:
    """What a worker finds in an envelope."""
    args, _, _ = json.loads(base64.b64decode(json.loads(raw)["body"]))
    return StepMessage.model_validate(args[0])


def message_ids(client: Client, queue: Queue) -> list[str]:
    """Job ids of the messages in a queue's list, the next one to be taken first."""
    raws: list[str] = client.lrange(queue, 0, -1)
    return [step_message(raw).job_id for raw in reversed(raws)]


def expire_lease(client: Client, job_id: str) -> None:
    """Let the lease of a claimed step run out."""
    _set_past(client, "ragline:leases", job_id, "lease_until")


def make_retry_due(client: Client, job_id: str) -> None:
    """Let the delay of a step that waits for another try be over."""
    _set_past(client, "ragline:delayed", job_id, "retry_at")


def _set_past(client: Client, index: str, job_id: str, field: str) -> None:
    pipe = client.pipeline()
    pipe.zadd(index, {job_id: 1}, xx=True, ch=True)
    pipe.hset(job_key(job_id), field, 1)
    changed, _ = pipe.execute()
    assert changed or client.zscore(index, job_id) == 1, f"{job_id} is not in {index}"


def open_sweep(client: Client) -> None:
    """Let the period of the last sweep be over."""
    client.delete("ragline:sweeper")


def pass_half_grace(client: Client) -> None:
    """Let the next sweep look for vanished messages again."""
    _set_last_looks(client, 0)


def pass_outage(client: Client) -> None:
    """Let the last sweep be longer ago than a lease."""
    client.decrby("ragline:swept", int(LEASE.total_seconds() * 1000) + 1000)


def hold_grace(client: Client) -> None:
    """Let no sweep look for vanished messages, however long the test takes, until half a grace period is let pass."""
    _set_last_looks(client, 10**15)


def queued_key(queue: Queue) -> str:
    """Sorted set of the jobs that wait on a queue, by sequence number, as the scripts name it."""
    return f"ragline:queued:{queue}"


def _set_last_looks(client: Client, at_ms: int) -> None:
    pipe = client.pipeline()
    for queue in Queue:
        pipe.hset(f"ragline:looks:{queue}", "at", at_ms)
    pipe.execute()


class Ledger:
    """The API's and a worker's ledger, with the loop the first one needs."""

    client: Client

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._api_client = redis.asyncio.Redis.from_url(url, decode_responses=True)
        self.client = redis.Redis.from_url(url, decode_responses=True)
        self.accepting = AcceptLedger(self._api_client)
        self.working = WorkLedger(self.client)
        self.trace: TraceContext = new_trace(request_id="req_test")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.run(self._api_client.aclose())
        self._runner.close()
        self.client.close()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """The answer of an asynchronous call."""
        return self._runner.run(call)

    def claim(self, job_id: str, step: Step | None = None, *, worker: str = "worker-1", **options: Any) -> Claim | None:  # noqa: ANN401 - options of `WorkLedger.claim`
        """Claim a step, whether its message was taken or not."""
        step = step or Step(self.field(job_id, "step"))
        return self.working.claim(StepMessage(job_id=job_id, step=step), worker, **options)

    def collection(self, name: str = COLLECTION, tenant: str = DEFAULT_TENANT) -> CollectionRecord:
        return self.run(self.accepting.collection(tenant, name))

    def commit(self, submission: Submission, *, chunks: int = 10, pages: int = 2) -> None:
        """Do all of an ingest as an honest worker does."""
        claim = self.index(submission)
        self.working.commit(claim, pages=pages, chunks=chunks)
        self.working.finish(claim, {"chunks": chunks})

    def delete(self, document_id: str, tenant: str = DEFAULT_TENANT) -> Submission:
        return self.submit(NewJob(tenant=tenant, kind=JobKind.DELETE, params={}, document_id=document_id))

    def document(self, document_id: str | None, tenant: str = DEFAULT_TENANT) -> DocumentRecord:
        assert document_id is not None
        return self.run(self.accepting.document(tenant, document_id))

    def events(self, job_id: str, after: str = "0") -> list[Event]:
        return self.run(self.accepting.events(job_id, after=after, block_seconds=0))

    def field(self, job_id: str, name: str) -> str:
        """One field of a job's hash."""
        value = self.client.hget(job_key(job_id), name)
        assert isinstance(value, str), f"{job_id} has no {name}"
        return value

    def index(self, submission: Submission) -> Claim:
        """Bring an upload to its last step and claim that."""
        claim = self.start(submission.job_id)
        while following := NEXT_STEP.get(claim.job.step):
            self.working.advance(claim, following)
            claim = self.start(submission.job_id)
        return claim

    def job(self, job_id: str, tenant: str = DEFAULT_TENANT) -> JobRecord:
        return self.run(self.accepting.job(tenant, job_id))

    def littered(self) -> set[str]:
        """The documents that the next sweep finds something left behind of."""
        open_sweep(self.client)
        return {*self.run(self.accepting.sweep()).littered}

    def start(self, job_id: str, **options: Any) -> Claim:  # noqa: ANN401 - options of `WorkLedger.claim`
        """Take the job's message off its queue, whatever waits in front of it, and claim the step."""
        queue = self.field(job_id, "queue")
        raws = [raw for raw in self.client.lrange(queue, 0, -1) if step_message(raw).job_id == job_id]
        assert raws, f"no message of {job_id} waits on {queue}"
        self.client.lrem(queue, 1, raws[-1])
        claim = self.claim(job_id, step_message(raws[-1]).step, **options)
        assert claim is not None, "there was nothing to claim"
        return claim

    def submit(self, new: NewJob) -> Submission:
        return self.run(self.accepting.accept_job(new, self.trace))

    def sweep(self) -> tuple[int, ...]:
        """A sweep in a period of its own: expired leases, due retries, vanished messages."""
        open_sweep(self.client)
        found = self.run(self.accepting.sweep())
        return len(found.lost), found.due, found.vanished

    def sweep_past_grace(self) -> int:
        """Sweep until a grace period has passed; the number of messages found to have vanished."""
        found = 0
        for _ in range(3):
            pass_half_grace(self.client)
            found += self.sweep()[2]
        return found

    def take(self, queue: Queue = ROUTES[FIRST_STEP[JobKind.INGEST]].queue) -> StepMessage:
        """The next message of a queue, as a worker's BRPOP gets it."""
        raw = self.client.rpop(queue)
        assert isinstance(raw, str), f"{queue} is empty"
        return step_message(raw)

    def upload(self, **overrides: Any) -> Submission:  # noqa: ANN401 - the fields of `NewDocument`
        return self.run(self.accepting.accept_document(new_document(**overrides), self.trace))
