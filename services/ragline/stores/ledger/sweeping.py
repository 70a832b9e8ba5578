"""What a sweep of the ledger found."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

__all__ = ["LostClaim", "Swept", "swept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LostClaim:
    """A claim whose lease ran out: its worker died, froze or was cut off.

    Attributes
    ----------
    traceparent
        Of the request that the job came with.
    span
        Traceparent of this attempt's own span, which its worker can send no more; empty when it had none.
    held, silent
        How long it had its claim, and how long ago the lease ran out, by the server's clock.
    """

    job_id: str
    step: str
    queue: str
    tenant: str
    document_id: str
    worker: str
    attempt: int
    request_id: str
    traceparent: str
    span: str
    held: timedelta
    silent: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What was queued again, or ended because it was lost too often.

    Attributes
    ----------
    due, vanished
        Number of retries that were due and of messages that had vanished.
    littered
        Some of the documents that have something left behind which does not count.
    """

    lost: tuple[LostClaim, ...] = ()
    due: int = 0
    vanished: int = 0
    littered: tuple[str, ...] = ()


def swept(answer: tuple[Sequence[Sequence[Any]], int, int, Sequence[str]]) -> Swept:
    """What the script answered."""
    rows, due, vanished, littered = answer
    lost = tuple(_lost_claim(*row) for row in rows)
    return Swept(lost=lost, due=due, vanished=vanished, littered=tuple(littered))


def _lost_claim(*row: Any) -> LostClaim:  # noqa: ANN401 - strings and numbers
    *words, claimed_at, lease_until, now = row
    job_id, step, queue, tenant, document_id, worker, attempts, request_id, traceparent, span = words
    until = int(lease_until)
    return LostClaim(
        job_id=job_id,
        step=step,
        queue=queue,
        tenant=tenant,
        document_id=document_id,
        worker=worker,
        attempt=int(attempts),
        request_id=request_id,
        traceparent=traceparent,
        span=span,
        held=timedelta(milliseconds=until - int(claimed_at)),
        silent=timedelta(milliseconds=now - until),
    )
