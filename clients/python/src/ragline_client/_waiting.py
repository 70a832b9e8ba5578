"""How a job is waited for, without sending anything."""

import math
import time
from collections.abc import Callable, Generator

from ragline_client import _calls
from ragline_client._calls import Call
from ragline_client.errors import JobFailed, Timeout
from ragline_client.models import Failure, Job

__all__ = ["JobCallback", "waiting"]

JobCallback = Callable[[Job], None]

_LONG_POLL_SECONDS = 20.0
_LONG_POLL_WITH_PROGRESS_SECONDS = 5.0
"""The service answers a long poll at the job's end or after this time, with the progress of that moment."""


def waiting(
    job_id: str,
    *,
    timeout_seconds: float | None,
    on_progress: JobCallback | None,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[Call[Job], Job, Job]:
    """Yields calls, is sent what they gave, and returns the job once it has succeeded.

    Raises
    ------
    JobFailed
        It has failed or was cancelled.
    Timeout
        It has not ended in time.
    """
    deadline = math.inf if timeout_seconds is None else clock() + timeout_seconds
    longest = _LONG_POLL_WITH_PROGRESS_SECONDS if on_progress else _LONG_POLL_SECONDS
    while True:
        left = max(0.0, deadline - clock())
        within = None if timeout_seconds is None else left
        job = yield _calls.job(job_id, wait_seconds=min(longest, left), within_seconds=within)
        if on_progress:
            on_progress(job)
        if job.ended:
            return _succeeded(job)
        if clock() >= deadline:
            raise Timeout(f"Job {job_id} is {job.status} after {timeout_seconds:g} s: {job.next or job.step}")


def _succeeded(job: Job) -> Job:
    if job.status == "succeeded":
        return job
    why = job.error or Failure(code=job.status, title=f"The job was {job.status}")
    raise JobFailed(job_id=job.id, code=why.code, title=why.title, detail=why.detail, retryable=why.retryable)
