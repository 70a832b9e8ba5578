"""Every error the product names, each leaf with a stable code.

::

    RagError
      ClientError            the caller must change something; never alerts
        NotFound  Conflict  EmbeddingSpaceMismatch  InvalidRequest  DivisionByZero
        EmptyUpload  Forbidden  IdempotencyKeyReused  MethodNotAllowed  RequestTimeout  Unauthorized
      RefusedForNow          the same request may pass later; says when
        BacklogFull  BudgetExhausted  GenerationNotReached  Overloaded  RateLimited  TooManyStreams
      DependencyError        a part we rely on; carries its name and the operation
        TransientError       worth another try: timeout, refused, 429, 5xx
        RejectedError        no retry, the job fails: other 4xx of a model or store
        ProtocolError        no retry, alert: a reply we cannot read, data that should be there and is not
      DocumentError          that one document fails, nothing else
        NoText  Encrypted  MalformedPdf  TooLarge  TooManyPages
        ParserCrashed  ParserTimeout  UnsupportedMediaType
      OutcomeError           how a job ended when no single error explains it
        AttemptsExhausted  Quarantined  Cancelled  Superseded
      InternalError          a defect of ours
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from typing_extensions import override

__all__ = [
    "AttemptsExhausted",
    "BacklogFull",
    "BudgetExhausted",
    "Cancelled",
    "ClientError",
    "Conflict",
    "DependencyError",
    "DivisionByZero",
    "DocumentError",
    "EmbeddingSpaceMismatch",
    "EmptyUpload",
    "Encrypted",
    "Forbidden",
    "GenerationNotReached",
    "IdempotencyKeyReused",
    "InternalError",
    "InvalidRequest",
    "MalformedPdf",
    "MethodNotAllowed",
    "NoText",
    "NotFound",
    "OutcomeError",
    "Overloaded",
    "ParserCrashed",
    "ParserTimeout",
    "ProtocolError",
    "Quarantined",
    "RagError",
    "RateLimited",
    "RefusedForNow",
    "RejectedError",
    "RequestTimeout",
    "Superseded",
    "TooLarge",
    "TooManyPages",
    "TooManyStreams",
    "TransientError",
    "Unauthorized",
    "UnsupportedMediaType",
    "error_class",
    "rebuild_error",
]


class RagError(Exception):
    """Base of all named errors.

    Attributes
    ----------
    code
        Stable machine-readable name; the same in HTTP answers, job records and logs.
    title
        One short sentence for people, the same for every occurrence.
    status
        HTTP status when the error is the answer to a request.
    retryable
        Whether the same request or upload may succeed later without a change.
    alert
        Whether an operator should be told.
    retry_after
        How long to wait before another try, when that is known.
    """

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong on our side"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    alert: ClassVar[bool] = False
    retry_after: timedelta | None = None

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        # The constructors differ, and an error must survive the way between a pool's processes.
        return _restore, (type(self), dict(vars(self)))

    def to_log(self) -> dict[str, str]:
        """Fields for one log line."""
        return {"error_code": self.code, "error_detail": self.detail}


class ClientError(RagError):
    """The caller must change something."""

    status = 400


class InvalidRequest(ClientError):
    """A malformed payload; ``errors`` names each field by JSON pointer."""

    code, title, status = "invalid_request", "The request is not valid", 422
    errors: Sequence[dict[str, str]] = ()

    def __init__(self, detail: str, errors: Sequence[dict[str, str]] = ()) -> None:
        super().__init__(detail)
        self.errors = errors


class DivisionByZero(ClientError):
    code, title, status = "division_by_zero", "Division by zero", 422


class EmptyUpload(ClientError):
    code, title, status = "empty_upload", "The upload holds no bytes", 422


class NotFound(ClientError):
    code, title, status = "not_found", "There is no such thing", 404


class MethodNotAllowed(ClientError):
    code, title, status = "method_not_allowed", "This address does not take that method", 405


class RequestTimeout(ClientError):
    code, title, status = "request_timeout", "The request did not arrive in time", 408


class Unauthorized(ClientError):
    code, title, status = "unauthorized", "A valid API key is needed", 401


class Conflict(ClientError):
    code, title, status = "conflict", "The state of the resource does not allow this", 409


class Forbidden(ClientError):
    code, title, status = "forbidden", "The API key does not allow this", 403


class IdempotencyKeyReused(ClientError):
    code, title, status = "idempotency_key_reused", "The Idempotency-Key was used for another request", 422


class RefusedForNow(RagError):
    """The same request may pass later.

    Parameters
    ----------
    retry_after
        How long to wait before it can.
    """

    status = 429
    retryable = True

    def __init__(self, detail: str, retry_after: timedelta | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class BacklogFull(RefusedForNow):
    code, title = "backlog_full", "Too much of your work is waiting already"


class BudgetExhausted(RefusedForNow):
    code, title = "budget_exhausted", "The tenant's tokens of this day are used up"


class GenerationNotReached(RefusedForNow):
    code, title, status = "generation_not_reached", "The collection has not reached that generation", 409


class Overloaded(RefusedForNow):
    code, title, status = "overloaded", "Too much work is waiting already", 503
    alert = True


class RateLimited(RefusedForNow):
    code, title = "rate_limited", "Too many requests in a minute"


class TooManyStreams(RefusedForNow):
    code, title = "too_many_streams", "Too many streams are open"


class EmbeddingSpaceMismatch(ClientError):
    """A collection was embedded with another model; vectors of two models cannot be compared."""

    code, title, status = "embedding_space_mismatch", "The collection was embedded with another model", 409


class DependencyError(RagError):
    """A part we rely on failed.

    Parameters
    ----------
    service
        Its name, such as ``redis`` or ``chroma``.
    operation
        What was asked of it.
    detail
        What happened, without secrets, paths or document text: callers read it.
    reason
        The other side's own words, such as a server's error text. For the log alone.
    """

    status = 502
    alert = True
    service: str = ""
    operation: str = ""
    reason: str = ""

    def __init__(self, service: str, operation: str, detail: str, *, reason: str = "") -> None:
        super().__init__(f"{service} {operation}: {detail}")
        self.service = service
        self.operation = operation
        self.reason = reason

    @override
    def to_log(self) -> dict[str, str]:
        reason = {"reason": self.reason} if self.reason else {}
        return {**super().to_log(), "service": self.service, "operation": self.operation, **reason}


class TransientError(DependencyError):
    """Worth another try.

    Parameters
    ----------
    retry_after
        How long the other side asked us to wait, if it did.
    unanswered
        It was asked and gave no answer: it may still do what it was asked.
    """

    code, title, status = "dependency_unavailable", "A part of the service is not available", 503
    retryable = True
    alert = False

    def __init__(
        self,
        service: str,
        operation: str,
        detail: str,
        retry_after: timedelta | None = None,
        *,
        reason: str = "",
        unanswered: bool = False,
    ) -> None:
        super().__init__(service, operation, detail, reason=reason)
        self.retry_after = retry_after
        self.unanswered = unanswered


class RejectedError(DependencyError):
    code, title = "dependency_rejected", "A model or store refused the request"


class ProtocolError(DependencyError):
    code, title = "dependency_protocol", "A model or store gave an answer we cannot use"


class DocumentError(RagError):
    """Only this document fails; a retry would not help."""

    status = 422


class NoText(DocumentError):
    code, title = "no_text", "The document holds no text (a scan?)"


class Encrypted(DocumentError):
    code, title = "encrypted", "The document needs a password"


class MalformedPdf(DocumentError):
    code, title = "malformed_pdf", "The document is not a readable PDF"


class TooLarge(DocumentError):
    code, title, status = "too_large", "What was sent is over a size limit", 413


class TooManyPages(DocumentError):
    code, title = "too_many_pages", "The document has too many pages"


class ParserCrashed(DocumentError):
    code, title = "parser_crashed", "Every parser crashed on the document"


class ParserTimeout(DocumentError):
    code, title = "parser_timeout", "Reading the document took too long"


class UnsupportedMediaType(DocumentError):
    code, title, status = "unsupported_media_type", "Content of that type is not accepted here", 415


class OutcomeError(RagError):
    """How a job ended when no single error explains it."""

    status = 500


class AttemptsExhausted(OutcomeError):
    code, title, status = "attempts_exhausted", "The work failed as often as it may", 503
    retryable = True
    alert = True


class Quarantined(OutcomeError):
    code, title = "quarantined", "The document was set aside: workers died while working on it"
    alert = True


class Cancelled(OutcomeError):
    code, title, status = "cancelled", "The job was cancelled", 409


class Superseded(OutcomeError):
    code, title, status = "superseded", "A newer upload of the same document took its place", 409


class InternalError(RagError):
    """A defect of ours; what it was stands in the log, not in the answer."""

    alert = True


def _leaves(parent: type[RagError]) -> list[type[RagError]]:
    return [parent, *(leaf for child in parent.__subclasses__() for leaf in _leaves(child))]


def error_class(code: str) -> type[RagError]:
    """The class that owns a stored code; `InternalError` for one this release does not know."""
    return next((leaf for leaf in _leaves(RagError)[1:] if vars(leaf).get("code") == code), InternalError)


def rebuild_error(code: str, detail: str) -> RagError:
    """An error again from what a job record keeps of it."""
    return _restore(error_class(code), {"detail": detail})


def _restore(kind: type[RagError], state: dict[str, Any]) -> RagError:
    error = kind.__new__(kind, state["detail"])
    RagError.__init__(error, state["detail"])
    vars(error).update(state)
    return error
