import pickle
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest

from clients.python.tests.conftest import MakeClient
from clients.python.tests.fake import FakeApi, problem, reply
from ragline_client import (
    ApiError,
    AuthenticationError,
    Conflict,
    FieldProblem,
    InvalidRequest,
    JobFailed,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unavailable,
    UnexpectedReply,
)

JOB = "GET /v1/jobs/job_1"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ApiError),
        (401, AuthenticationError),
        (403, PermissionDenied),
        (404, NotFound),
        (409, Conflict),
        (413, ApiError),
        (422, InvalidRequest),
        (429, RateLimited),
        (500, ApiError),
        (502, ApiError),
        (503, Unavailable),
    ],
)
def test_each_status_has_its_class(make_client: MakeClient, status: int, kind: type[ApiError]) -> None:
    api = FakeApi({JOB: [problem(status)]})

    with pytest.raises(ApiError) as failure:
        make_client(api, max_retries=0).job("job_1")

    assert type(failure.value) is kind
    assert failure.value.status == status


def test_an_error_has_all_members_of_the_problem(make_client: MakeClient) -> None:
    wrong = [{"pointer": "/body/top_k", "detail": "too large"}]
    api = FakeApi({JOB: [problem(422, "invalid_request", errors=wrong, retryable=True, retry_after="7")]})

    with pytest.raises(InvalidRequest, match=r"^Title: Detail \(code invalid_request, request req_1\)$") as failure:
        make_client(api).job("job_1")

    error = failure.value
    assert (error.code, error.title, error.detail, error.request_id) == ("invalid_request", "Title", "Detail", "req_1")
    assert error.trace_id == "0af765"
    assert (error.retryable, error.retry_after) == (True, 7)
    assert error.errors == (FieldProblem(pointer="/body/top_k", detail="too large"),)


@pytest.mark.parametrize("body", ["<html>Bad gateway</html>", "[1]", '"text"', '{"errors": 3, "title": null}', ""])
def test_the_refusal_of_something_in_between_is_an_error_too(make_client: MakeClient, body: str) -> None:
    api = FakeApi({JOB: [httpx2.Response(502, text=body)]})

    with pytest.raises(ApiError, match="The service answered 502") as failure:
        make_client(api, max_retries=0).job("job_1")

    assert (failure.value.code, failure.value.retryable, failure.value.errors) == ("http_502", True, ())


@pytest.mark.parametrize("body", ["<html>Welcome</html>", "{}", "[]", '{"id": 3, "status": "running"}', "null"])
def test_a_success_of_something_else_is_said_plainly(make_client: MakeClient, body: str) -> None:
    api = FakeApi({JOB: [httpx2.Response(200, text=body)]})

    with pytest.raises(UnexpectedReply):
        make_client(api).job("job_1")


def test_a_redirect_is_not_followed_with_the_key(make_client: MakeClient) -> None:
    away = httpx2.Response(307, headers={"Location": "http://elsewhere.test/v1/jobs/job_1"})
    api = FakeApi({JOB: [away, reply({"id": "job_1", "status": "running"})]})

    with pytest.raises(ApiError, match="answered 307"):
        make_client(api).job("job_1")

    assert len(api.requests) == 1


def test_a_moment_to_come_back_is_understood(make_client: MakeClient) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    api = FakeApi({JOB: [problem(409, retry_after=moment)]})

    with pytest.raises(Conflict) as failure:
        make_client(api).job("job_1")

    assert failure.value.retry_after == pytest.approx(100, abs=10)


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf"])
def test_a_retry_after_without_sense_is_none(make_client: MakeClient, text: str) -> None:
    with pytest.raises(Conflict) as failure:
        make_client(FakeApi({JOB: [problem(409, retry_after=text)]})).job("job_1")

    assert failure.value.retry_after is None


def test_errors_survive_the_way_between_processes(make_client: MakeClient) -> None:
    with pytest.raises(NotFound) as failure:
        make_client(FakeApi({JOB: [problem(404)]})).job("job_1")

    for error in (failure.value, JobFailed(job_id="job_1", code="no_text", title="A scan", retryable=True)):
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
