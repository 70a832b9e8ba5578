from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import openai
import pytest

from ragline.common.errors import ProtocolError, RejectedError, TransientError
from ragline.pipeline.openai_errors import dependency_error, openai_errors, retry_after

REQUEST = httpx2.Request("POST", "http://127.0.0.1/v1/chat/completions")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after-ms": "1500"}, timedelta(seconds=1.5)),
        ({"retry-after": "0.5"}, timedelta(seconds=0.5)),
        ({"retry-after": "-3"}, timedelta(0)),
        ({"retry-after": "1e300"}, timedelta(days=1)),
        ({"retry-after-ms": "soon", "retry-after": "2"}, timedelta(seconds=2)),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_wait_is_read_from_the_headers(headers: dict[str, str], expected: timedelta | None) -> None:
    assert retry_after(headers) == expected


def test_wait_may_be_a_date() -> None:
    date = datetime.now(UTC) + timedelta(seconds=100)
    wait = retry_after({"retry-after": format_datetime(date, usegmt=True)})
    assert wait is not None
    assert timedelta(seconds=90) < wait <= timedelta(seconds=100)


def test_wait_until_a_date_in_the_past_is_over() -> None:
    assert retry_after({"retry-after": "Mon, 01 Jan 2024 00:00:00 GMT"}) == timedelta(0)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("server_error", TransientError),
        ("rate_limit_exceeded", TransientError),
        (None, TransientError),
        ("insufficient_quota", RejectedError),
        ("context_length_exceeded", RejectedError),
    ],
)
def test_error_inside_a_stream_goes_by_its_code(code: str | None, kind: type[Exception]) -> None:
    error = openai.APIError("message", REQUEST, body={"code": code})
    assert type(dependency_error(error, "chat")) is kind


def test_reply_of_another_form_is_a_protocol_error() -> None:
    error = openai.APIResponseValidationError(httpx2.Response(200, request=REQUEST), body=None)
    assert type(dependency_error(error, "chat")) is ProtocolError


def test_other_errors_of_the_sdk_are_protocol_errors() -> None:
    with pytest.raises(ProtocolError, match="OpenAIError"), openai_errors("chat"):
        raise openai.OpenAIError


def test_errors_of_our_own_pass() -> None:
    with pytest.raises(ZeroDivisionError), openai_errors("chat"):
        raise ZeroDivisionError
