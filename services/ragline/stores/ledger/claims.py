"""Claims: the right of one worker to work on one step."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from ragline.common.models import JobRecord
from ragline.stores.ledger.records import job_record

__all__ = ["Claim", "ClaimLost", "ClaimState", "claim_from"]


class ClaimState(StrEnum):
    """What the ledger says of a claim."""

    OK = "ok"
    LOST = "lost"
    CANCELLED = "cancelled"


class ClaimLost(Exception):
    """The worker may not go on with the step: somebody else has it, or the job has ended."""

    def __init__(self, state: ClaimState) -> None:
        super().__init__(state)
        self.state = state


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to work on one step, proved by a fencing token.

    Attributes
    ----------
    checkpoint
        What an earlier run of this step left behind; empty at first.
    queued_at
        When the step was put on its queue, Unix milliseconds of the Redis server's clock.
    claimed_at
        When the claim was made, by the same clock.
    cold
        Whether its queue had no living worker when it was put there.
    previous_span
        Traceparent of the attempt before this one; empty when there was none, or none that was traced.
    """

    job: JobRecord
    token: str
    checkpoint: Mapping[str, Any]
    queued_at: int
    claimed_at: int
    cold: bool = False
    previous_span: str = ""


def claim_from(row: Mapping[str, str], previous_span: str = "") -> Claim:
    """The claim that a job's record holds."""
    return Claim(
        job=job_record(row),
        token=row["token"],
        checkpoint=orjson.loads(row["checkpoint"]) if row["checkpoint"] else {},
        queued_at=int(row["queued_at"]),
        claimed_at=int(row["claimed_at"]),
        cold=row["cold"] == "1",
        previous_span=previous_span,
    )
