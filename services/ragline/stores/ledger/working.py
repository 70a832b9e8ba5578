"""The ledger as workers use it: claim a step, report on it, end it. Synchronous; one instance a process."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
import redis
import redis.exceptions

from ragline.common.constants import FENCE, HEARTBEAT_INTERVAL, LEASE, MAX_ATTEMPTS
from ragline.common.errors import RagError, TransientError
from ragline.common.identifiers import new_id
from ragline.common.messages import StepMessage, step_envelope
from ragline.common.models import CollectionRecord, DocumentRecord, DocumentState
from ragline.common.queues import ROUTES, Queue, Step
from ragline.stores.ledger.claims import Claim, ClaimLost, ClaimState, claim_from
from ragline.stores.ledger.keys import (
    answering_key,
    collection_key,
    document_key,
    documents_key,
    job_key,
    metadata_key,
    originals_key,
    workers_key,
)
from ragline.stores.ledger.records import collection_record, document_record
from ragline.stores.ledger.scripts import script_source
from ragline.stores.redis_errors import redis_errors

__all__ = ["KeptAnswer", "WorkLedger"]

_DOCUMENT_STATES = {
    Step.CONVERT: DocumentState.CONVERTING,
    Step.SPLIT: DocumentState.SPLITTING,
    Step.INDEX: DocumentState.INDEXING,
}
_CALLS = (
    "claim", "renew", "record", "advance", "hand_back", "retry", "fail", "commit", "finish",
    "delete_documents", "fence", "mark", "release_fence", "spend",
)  # fmt: skip
_MAX_DETAIL_CHARS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """What makes an answer good for the next one who asks the same.

    Attributes
    ----------
    generation
        The collection's, as it was before passages were looked for.
    profile
        What decides an answer beside question and documents: models and prompt.
    events
        Type and data of the events that a reader is told.
    """

    generation: int
    profile: str
    events: Sequence[tuple[str, Mapping[str, Any]]]


class WorkLedger:
    """Claims and reports.

    Every method that takes a `Claim` raises `ClaimLost` when the token is no longer the current one, and changes
    nothing then. Only `release_fence` does not ask: whoever was replaced has to give the fence back too. All raise
    `TransientError` when Redis is away.
    """

    def __init__(self, client: "redis.Redis") -> None:
        # redis-py types every answer as one that may have to be awaited.
        self._redis: Any = client
        self._scripts = {name: self._redis.register_script(script_source(name)) for name in _CALLS}

    def advance(self, claim: Claim, step: Step) -> None:
        """End the claimed step and queue the job's next one."""
        job = claim.job
        headers = {"traceparent": job.traceparent, "request_id": job.request_id}
        envelope = step_envelope(StepMessage(job_id=job.id, step=step), headers=headers)
        self._effect("advance", claim, step, ROUTES[step].queue, envelope)

    def announce_profile(self, profile: str) -> None:
        """Say what decides answers from now on: those that another profile gave are not given again."""
        with redis_errors("announce profile"):
            self._redis.set(answering_key(), profile)

    def claim(
        self,
        message: StepMessage,
        worker: str,
        *,
        lease: timedelta = LEASE,
        max_attempts: int = MAX_ATTEMPTS,
        span: str = "",
    ) -> Claim | None:
        """Take a step.

        Parameters
        ----------
        worker
            Name shown to operators.
        lease
            How long the claim holds without renewal.
        max_attempts
            The job fails when the step was started this often without progress.
        span
            Traceparent of the span of this attempt; the next attempt is told it.

        Returns
        -------
        Claim or None
            None when there is nothing to do: a second copy of a message, a step that is done, or a job that has ended.
        """
        answer = self._call(
            "claim",
            message.job_id,
            message.step,
            worker,
            _milliseconds(lease),
            max_attempts,
            _DOCUMENT_STATES.get(message.step, ""),
            span,
        )
        if answer[0] != "claimed":
            return None
        _, row, previous_span = answer
        return claim_from(dict(zip(row[::2], row[1::2], strict=True)), previous_span)

    def claim_of(self, job_id: str, token: str) -> Claim | None:
        """The claim that another process made and passed on; None when the job is gone. Its effects are checked."""
        with redis_errors("read job"):
            row = self._redis.hgetall(job_key(job_id))
        return claim_from({**row, "token": token}) if row else None

    def collection(self, tenant: str, name: str) -> CollectionRecord | None:
        """A collection, or None; see its `dropping`."""
        with redis_errors("read collection"):
            row = self._redis.hgetall(collection_key(tenant, name))
        return collection_record(row, documents=0) if row else None

    def commit(self, claim: Claim, *, pages: int, chunks: int) -> None:
        """Make the claimed document version the one that answers questions."""
        self._effect("commit", claim, pages, chunks)

    def delete_documents(self, claim: Claim, document_ids: Sequence[str]) -> None:
        """Hide documents of the collection that the claimed job drops, and queue a delete for each that has none."""
        flat = [part for document_id in document_ids for part in (document_id, *_new_delete(claim))]
        self._effect("delete_documents", claim, *flat)

    def document_ids(self, tenant: str, collection: str, *, newest: int = 0) -> list[str]:
        """Ids of all documents of a collection, or of so many newest ones; oldest first."""
        with redis_errors("list documents"):
            # From -0 on are all.
            return list(self._redis.zrange(documents_key(tenant, collection), -newest, -1))

    def documents(self, document_ids: Sequence[str]) -> dict[str, DocumentRecord]:
        """Those of the documents that exist, by id; one round trip."""
        with redis_errors("read documents"):
            pipe = self._redis.pipeline(transaction=False)
            for document_id in document_ids:
                pipe.hgetall(document_key(document_id))
            rows = pipe.execute()
        return {row["id"]: document_record(row) for row in rows if row}

    def fail(self, claim: Claim, error: RagError) -> None:
        """End the job as failed, and its document with it."""
        self._effect("fail", claim, error.code, _shown(error.detail))

    def fence(self, claim: Claim) -> None:
        """Take, or keep, the right to change what the vector store holds of the claim's document.

        To be called right before each write, so that a job that was replaced cannot write after its successor.

        Raises
        ------
        TransientError
            The job that was replaced is still in the middle of a write; at most `FENCE` later it is over.
        """
        self._fence(claim, only_keep=False)

    @contextmanager
    def fenced(self, claim: Claim) -> Iterator[None]:
        """Hold the document's fence for the body; raises what `fence` does.

        It is given back however the body ends, unless that is a write without an answer: it may land yet, and the
        fence, which ends by itself, keeps a successor from looking before.
        """
        self.fence(claim)
        unanswered = False
        try:
            yield
        except TransientError as error:
            unanswered = error.unanswered
            raise
        finally:
            if not unanswered:
                self.release_fence(claim)

    def finish(self, claim: Claim, result: object, kept: KeptAnswer | None = None) -> None:
        """End the job as succeeded.

        Parameters
        ----------
        result
            JSON.
        kept
            The result is kept for the next one who asks the same, if the job says under which name.
        """
        extra: list[str | bytes | int] = []
        if kept is not None:
            events = [(kind, orjson.dumps(data).decode()) for kind, data in kept.events]
            extra = [kept.generation, kept.profile, orjson.dumps(events)]
        self._effect("finish", claim, orjson.dumps(result), *extra)

    def forget_originals(self, document_id: str, versions: Sequence[int]) -> None:
        """Forget where the bytes of these versions lay."""
        if versions:
            with redis_errors("forget originals"):
                self._redis.hdel(originals_key(document_id), *map(str, versions))

    def hand_back(self, claim: Claim, *, interrupted: bool, progressed: bool) -> None:
        """Return the step to its queue, to be continued from its checkpoint."""
        self._effect("hand_back", claim, "interrupted" if interrupted else "handed_back", int(progressed))

    def heartbeat(self, queue: Queue, worker: str) -> None:
        """Say that this worker is alive; it counts as gone after three silent intervals."""
        with redis_errors("heartbeat"):
            seconds, micros = self._redis.time()
            now, silence = seconds * 1000 + micros // 1000, 3 * _milliseconds(HEARTBEAT_INTERVAL)
            pipe = self._redis.pipeline()
            pipe.zadd(workers_key(queue), {worker: now + silence})
            # Pods come and go under ever new names.
            pipe.zremrangebyscore(workers_key(queue), "-inf", now)
            pipe.pexpire(workers_key(queue), silence)
            pipe.execute()

    def keep_fence(self, claim: Claim) -> None:
        """Keep the fence before a write that rests on what was read since it was taken.

        Raises
        ------
        TransientError
            It ran out meanwhile: another job may have changed the document. What was read must be read again.
        """
        self._fence(claim, only_keep=True)

    def leave(self, queue: Queue, worker: str) -> None:
        """Say that this worker stops."""
        with redis_errors("leave"):
            self._redis.zrem(workers_key(queue), worker)

    def mark(self, *, damaged: Collection[str], littered: Collection[str]) -> None:
        """Note what a verification found.

        Parameters
        ----------
        damaged
            Documents with chunks missing: the same bytes uploaded again are then no longer "unchanged".
        littered
            Documents with chunks that do not count: they are cleaned.
        """
        for kind, ids in (("damaged", damaged), ("littered", littered)):
            if ids:
                self._call("mark", kind, *ids)

    def metadata(self, tenant: str, collection: str) -> dict[str, Mapping[str, Any]]:
        """Metadata of the collection's visible documents that have some, by document id.

        One round trip: 12 ms for 10,000 documents with five values each, 120 ms for 100,000 (measured).
        """
        with redis_errors("read metadata"):
            rows = self._redis.hgetall(metadata_key(tenant, collection))
        return {document_id: orjson.loads(text) for document_id, text in rows.items()}

    def originals(self, document_id: str) -> dict[int, str]:
        """Object keys of a document's uploads by version."""
        with redis_errors("read originals"):
            rows = self._redis.hgetall(originals_key(document_id))
        return {int(version): key for version, key in rows.items()}

    def record(
        self,
        claim: Claim,
        *,
        progress: tuple[int, int, str] | None = None,
        checkpoint: Mapping[str, Any] | None = None,
        events: Sequence[tuple[str, Mapping[str, Any]]] = (),
    ) -> None:
        """Note how far the step got and tell the job's readers.

        Parameters
        ----------
        progress
            Done, total and their unit.
        checkpoint
            What the next run of this step needs; JSON.
        events
            Pairs of event type and data.
        """
        done, total, unit = progress or ("", "", "")
        flat = [part for kind, data in events for part in (kind, orjson.dumps(data))]
        saved = orjson.dumps(checkpoint) if checkpoint is not None else ""
        self._effect("record", claim, done, total, unit, saved, *flat)

    def release_fence(self, claim: Claim) -> None:
        """Give the document's fence back, whether or not the claim still holds."""
        self._call("release_fence", claim.job.id, claim.token, claim.job.document_id)

    def renew(self, claims: Sequence[Claim]) -> list[ClaimState]:
        """Keep claims alive for another lease; one state each."""
        pairs = [part for claim in claims for part in (claim.job.id, claim.token)]
        return [ClaimState(word) for word in self._call("renew", *pairs)]

    def retry(self, claim: Claim, error: RagError, delay: timedelta, *, max_attempts: int = MAX_ATTEMPTS) -> bool:
        """Try the step again after a delay.

        Returns
        -------
        bool
            False when it was tried often enough: the job has failed with ``attempts_exhausted``.
        """
        answer = self._call(
            "retry", claim.job.id, claim.token, _milliseconds(delay), error.code, _shown(error.detail), max_attempts
        )
        if answer in {"ok", "exhausted"}:
            return bool(answer == "ok")
        raise ClaimLost(ClaimState(answer))

    def spend(self, tenant: str, tokens: int) -> None:
        """Count tokens of the chat model that a tenant used, beside those of the `usage` events that are recorded."""
        self._call("spend", tenant, tokens)

    def _call(self, name: str, *args: str | bytes | int) -> Any:  # noqa: ANN401 - the shape depends on the script
        with redis_errors(name):
            return self._scripts[name](keys=[], args=list(args))

    def _fence(self, claim: Claim, *, only_keep: bool) -> None:
        match self._call("fence", claim.job.id, claim.token, _milliseconds(FENCE), int(only_keep)):
            case "ok":
                return
            case "busy":
                raise TransientError("ledger", "fence", "another job still writes this document")
            case "expired":
                raise TransientError("ledger", "fence", "it ran out: another job may have written this document")
            case state:
                raise ClaimLost(ClaimState(state))

    def _effect(self, name: str, claim: Claim, *args: str | bytes | int) -> None:
        state = ClaimState(self._call(name, claim.job.id, claim.token, *args))
        if state is not ClaimState.OK:
            raise ClaimLost(state)


def _new_delete(claim: Claim) -> tuple[str, str]:
    job_id = new_id("job")
    headers = {"traceparent": claim.job.traceparent, "request_id": claim.job.request_id}
    return job_id, step_envelope(StepMessage(job_id=job_id, step=Step.DELETE), headers=headers)


def _shown(detail: str) -> str:
    """What a record keeps of an error's text: valid UTF-8 and not endless, whatever a parser or model said."""
    return detail[:_MAX_DETAIL_CHARS].encode("utf-8", "replace").decode()


def _milliseconds(duration: timedelta) -> int:
    return int(duration.total_seconds() * 1000)
