"""What an upload gives back, in both clients."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from typing_extensions import override

from ragline_client._calls import BatchEntry
from ragline_client.errors import ApiError, error_of_problem
from ragline_client.models import Submission

__all__ = ["Handle", "UploadResult", "upload_results"]

HandleT = TypeVar("HandleT", bound="Handle")


class Handle:
    """Work the service has taken.

    Attributes
    ----------
    submission
        What the service said when it took it.
    """

    def __init__(self, submission: Submission) -> None:
        self.submission = submission

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.submission!r})"

    @property
    def document_id(self) -> str | None:
        """The document it is about."""
        return self.submission.document_id

    @property
    def id(self) -> str:
        """Id of the job."""
        return self.submission.job_id


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadResult(Generic[HandleT]):
    """What became of one of many documents: a job or an error."""

    name: str
    job: HandleT | None
    error: ApiError | None


def upload_results(
    entries: Iterable[BatchEntry], handle: Callable[[Submission], HandleT]
) -> list[UploadResult[HandleT]]:
    """The entries of a batch for the caller."""
    return [
        UploadResult(
            name=entry.name,
            job=handle(entry.submission) if entry.submission else None,
            error=None if entry.submission else error_of_problem(entry.problem or {}),
        )
        for entry in entries
    ]
