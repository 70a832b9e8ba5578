"""What the `openai` SDK raises, as our errors; shared by the embedder and the chat generator.

Details name the status and the provider's error code only: messages of providers quote keys and prompts.
"""

import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from email.utils import mktime_tz, parsedate_tz
from json import JSONDecodeError

import openai
from openai import APIConnectionError, APIError, APIResponseValidationError, APIStatusError, APITimeoutError

from ragline.common.errors import DependencyError, ProtocolError, RejectedError, TransientError

__all__ = ["SERVICE", "dependency_error", "openai_errors", "retry_after"]

SERVICE = "openai"
"""Name of the dependency in errors, as in the settings, whatever OpenAI-compatible server it is."""

_TRANSIENT_STATUSES = frozenset({408, 409, 425, 429})
"""Request timeout, lock timeout (the SDK retries it too), too early, rate limit; besides all of 500 and above."""

_FIRST_SERVER_ERROR = 500

_FINAL_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
"""Sent with 429, but waiting does not help: somebody has to pay."""

_REQUEST_FAULTS = frozenset({"invalid_request_error", "context_length_exceeded", "content_filter"})
"""Codes of errors inside a stream, where there is no status, that the same request would meet again."""

_SAFE_CODE = re.compile(r"[a-z]+(?:_[a-z]+){0,7}")
"""Only names made of words are repeated; a key or a piece of text does not look like this."""

_LONGEST_WAIT = timedelta(days=1)
"""A server that asks for more is not believed; the ledger's own bound is far lower."""


@contextmanager
def openai_errors(operation: str) -> Iterator[None]:
    """Turn what the SDK raises inside into our errors.

    Parameters
    ----------
    operation
        What is asked of the model, for the error's detail.

    Raises
    ------
    TransientError
        No connection, no answer in time, 408, 409, 425, 429, 5xx, or an error inside a stream.
    RejectedError
        Another 4xx, or a 429 because the account has no quota left.
    ProtocolError
        A reply that is not what the API promises.
    """
    try:
        yield
    except APIError as error:
        # Not chained: the SDK's message and body quote what was sent.
        raise dependency_error(error, operation) from None
    except (JSONDecodeError, UnicodeDecodeError):
        raise ProtocolError(SERVICE, operation, "the reply is not JSON") from None
    except openai.OpenAIError as error:
        raise ProtocolError(SERVICE, operation, type(error).__name__) from None


def dependency_error(error: APIError, operation: str) -> DependencyError:
    """Our error for one of the SDK.

    Parameters
    ----------
    operation
        What was asked of the model.

    Returns
    -------
    DependencyError
        A `TransientError`, `RejectedError` or `ProtocolError`, not raised.
    """
    match error:
        case APITimeoutError():
            return TransientError(SERVICE, operation, "no answer in time")
        case APIConnectionError():
            return TransientError(SERVICE, operation, "no connection, or it broke")
        case APIStatusError():
            return _by_status(error, operation)
        case APIResponseValidationError():
            return ProtocolError(SERVICE, operation, "the reply has another form than promised")
        case _:
            return _in_stream(error, operation)


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """How long a server asks its caller to wait.

    Parameters
    ----------
    headers
        Of the response, names in any case if the mapping allows it, else in lower case.

    Returns
    -------
    timedelta or None
        From ``retry-after-ms``, else ``retry-after`` in seconds or as a date; None when there is no such header or it
        makes no sense.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return _wait(milliseconds / 1000)
    text = headers.get("retry-after", "")
    seconds = _number(text)
    if seconds is None and (date := parsedate_tz(text)):
        seconds = mktime_tz(date) - time.time()
    return None if seconds is None else _wait(seconds)


def _in_stream(error: APIError, operation: str) -> DependencyError:
    """An error that came instead of the rest of an answer, after status 200."""
    if _codes(error) & (_FINAL_CODES | _REQUEST_FAULTS):
        return RejectedError(SERVICE, operation, f"refused while answering{_named(error)}")
    return TransientError(SERVICE, operation, f"failed while answering{_named(error)}")


def _by_status(error: APIStatusError, operation: str) -> DependencyError:
    detail = f"HTTP {error.status_code}{_named(error)}"
    transient = error.status_code in _TRANSIENT_STATUSES or error.status_code >= _FIRST_SERVER_ERROR
    if transient and not _codes(error) & _FINAL_CODES:
        return TransientError(SERVICE, operation, detail, retry_after(error.response.headers))
    return RejectedError(SERVICE, operation, detail)


def _codes(error: APIError) -> set[str]:
    return {code for code in (error.code, error.type) if isinstance(code, str)}


def _named(error: APIError) -> str:
    code = next(
        (code for code in (error.code, error.type) if isinstance(code, str) and _SAFE_CODE.fullmatch(code)), None
    )
    return f" ({code})" if code else ""


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _wait(seconds: float) -> timedelta:
    return timedelta(seconds=min(max(seconds, 0.0), _LONGEST_WAIT.total_seconds()))
