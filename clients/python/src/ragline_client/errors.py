"""What can go wrong, as classes to catch.

::

    RaglineError
      ApiError               the service refused, with the members of its problem+json
        AuthenticationError  401
        PermissionDenied     403
        NotFound             404
        Conflict             409
        InvalidRequest       422
        RateLimited          429
        Unavailable          503
      ConnectionFailed       no reply came
      JobFailed              the service took the work and could not do it, or it was cancelled
      Timeout                something took longer than it may
      UnexpectedReply        what came is not a reply of Ragline
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from typing_extensions import override

__all__ = [
    "ApiError",
    "AuthenticationError",
    "Conflict",
    "ConnectionFailed",
    "FieldProblem",
    "InvalidRequest",
    "JobFailed",
    "NotFound",
    "PermissionDenied",
    "RaglineError",
    "RateLimited",
    "Timeout",
    "Unavailable",
    "UnexpectedReply",
    "error_of_problem",
    "error_of_reply",
]

_TRANSIENT_STATUSES = frozenset({429, 502, 503, 504})
"""Another try of the same request may pass."""


class RaglineError(Exception):
    """Base of all errors of this package.

    Attributes
    ----------
    transient
        Whether the client tries the same request again on its own.
    """

    transient: bool = False

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        # The constructors differ, and an error must survive the way between a pool's processes.
        return _restored, (type(self), self.args, dict(vars(self)))


class ConnectionFailed(RaglineError):
    """No reply came: refused, reset, or no such host."""

    transient = True


class Timeout(RaglineError):
    """The service was silent, or a job was not done, for longer than the given time."""


class UnexpectedReply(RaglineError):
    """What came is not a reply of Ragline: a proxy in between, or another service at that address."""


class JobFailed(RaglineError):
    """The service took the work and could not do it, or the job was cancelled.

    Attributes
    ----------
    code
        Stable name of the reason, such as ``no_text``; ``cancelled`` for a cancelled job.
    title, detail
        The reason in words.
    retryable
        Whether the same work may succeed later.
    """

    def __init__(self, *, job_id: str, code: str, title: str = "", detail: str = "", retryable: bool = False) -> None:
        super().__init__(f"{_sentence(title or 'The job failed', detail)} (code {code}, job {job_id or 'unknown'})")
        self.job_id = job_id
        self.code = code
        self.title = title
        self.detail = detail
        self.retryable = retryable


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldProblem:
    """One field that is wrong; `pointer` is a JSON pointer into the request."""

    pointer: str
    detail: str


class ApiError(RaglineError):
    """The service refused a request.

    Attributes
    ----------
    status
        HTTP status.
    code
        Stable name of the reason, such as ``rate_limited``; ``http_502`` when the reply was not the service's own.
    title, detail
        The reason in words.
    request_id
        Names the request in the service's logs.
    trace_id
        Names its trace, and the log lines of all that it caused.
    retryable
        Whether the same request may succeed later without a change.
    errors
        The fields that are wrong, for invalid requests.
    retry_after
        Seconds to wait before another try, when the service said so.
    """

    def __init__(self, *, status: int, problem: Mapping[str, Any], retry_after: float | None = None) -> None:
        self.status = status
        self.code = str(problem.get("code") or f"http_{status}")
        self.title = str(problem.get("title") or f"The service answered {status}")
        self.detail = str(problem.get("detail") or "")
        self.request_id = str(problem.get("request_id") or "")
        self.trace_id = str(problem.get("trace_id") or "")
        self.retryable = bool(problem.get("retryable", status in _TRANSIENT_STATUSES))
        self.errors = _field_problems(problem.get("errors"))
        self.retry_after = retry_after
        self.transient = status in _TRANSIENT_STATUSES
        request = f", request {self.request_id}" if self.request_id else ""
        super().__init__(f"{_sentence(self.title, self.detail)} (code {self.code}{request})")


class AuthenticationError(ApiError):
    """The key is missing, unknown, revoked or expired."""


class PermissionDenied(ApiError):
    """The key does not have the scope this needs."""


class NotFound(ApiError):
    """There is no such thing, or it is another tenant's."""


class Conflict(ApiError):
    """The state of the resource does not allow this."""


class InvalidRequest(ApiError):
    """Something in the request is wrong; `errors` says where."""


class RateLimited(ApiError):
    """Too many requests, too much waiting work, or a budget that is used up."""


class Unavailable(ApiError):
    """A part of the service is away or overloaded."""


_BY_STATUS: Mapping[int, type[ApiError]] = {
    401: AuthenticationError,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    422: InvalidRequest,
    429: RateLimited,
    503: Unavailable,
}


def error_of_problem(problem: Mapping[str, Any], *, status: int = 0, retry_after: float | None = None) -> ApiError:
    """The error a problem tells of; its own status counts when the reply's is not given."""
    own = problem.get("status")
    status = status or (own if isinstance(own, int) else 500)
    return _BY_STATUS.get(status, ApiError)(status=status, problem=problem, retry_after=retry_after)


def error_of_reply(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The error of a reply that is not a success, whoever sent it."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    retry_after = _seconds(headers.get("Retry-After", ""))
    return error_of_problem(problem if isinstance(problem, dict) else {}, status=status, retry_after=retry_after)


def _field_problems(errors: object) -> tuple[FieldProblem, ...]:
    fields = [field for field in errors if isinstance(field, dict)] if isinstance(errors, list) else []
    return tuple(
        FieldProblem(pointer=str(field.get("pointer", "")), detail=str(field.get("detail", ""))) for field in fields
    )


def _restored(kind: type[RaglineError], args: tuple[Any, ...], state: dict[str, Any]) -> RaglineError:
    error = kind.__new__(kind, *args)
    vars(error).update(state)
    return error


def _seconds(retry_after: str) -> float | None:
    """Either form of the header: seconds, or a moment (RFC 9110, section 10.2.3)."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            moment = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        seconds = (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _sentence(title: str, detail: str) -> str:
    return title if detail in {"", title} else f"{title}: {detail}"
