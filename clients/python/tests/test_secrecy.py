import logging
import traceback

import httpx2
import pytest

from clients.python.tests.conftest import KEY, MakeClient
from clients.python.tests.fake import FakeApi, Reply, problem, reply
from ragline_client import AsyncRagline, Ragline, RaglineError

JOB = "GET /v1/jobs/job_1"


def test_the_key_is_sent_as_a_bearer_and_nowhere_without_one(make_client: MakeClient) -> None:
    api = FakeApi({JOB: [reply({"id": "job_1", "status": "running"})]})

    make_client(api).job("job_1")
    make_client(api, api_key=f" {KEY}\n").job("job_1")
    make_client(api, api_key=None).job("job_1")

    assert api.sent("Authorization") == [f"Bearer {KEY}", f"Bearer {KEY}", None]


@pytest.mark.parametrize(
    "answer",
    [
        problem(401, "unauthorized"),
        problem(503),
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout("silent"),
        reply({"nothing": "known"}),
    ],
)
def test_the_key_is_in_no_text(make_client: MakeClient, caplog: pytest.LogCaptureFixture, answer: Reply) -> None:
    caplog.set_level(logging.DEBUG)
    client = make_client(FakeApi({JOB: [answer]}), max_retries=1)

    with pytest.raises(RaglineError) as failure:
        client.job("job_1")

    error = failure.value
    told = [str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error)), caplog.text]
    inside = client._inner if hasattr(client, "_inner") else client
    told += [repr(client), str(client), repr(vars(inside)), repr(inside._http.headers), repr(vars(inside._connection))]
    assert [text for text in told if KEY in text] == []
    assert repr(client).endswith("Ragline('http://ragline.test')")


@pytest.mark.parametrize("kind", [Ragline, AsyncRagline])
@pytest.mark.parametrize("key", ["", "  ", "rk_secret\nX-Other: 1", "rk_secret€", "rk secret"])
def test_a_key_that_no_header_can_carry_is_refused_without_naming_it(kind: type[Ragline], key: str) -> None:
    with pytest.raises(ValueError, match="API key") as failure:
        kind("http://ragline.test", api_key=key)

    assert "secret" not in str(failure.value)


@pytest.mark.parametrize("kind", [Ragline, AsyncRagline])
@pytest.mark.parametrize("address", ["", "ragline.test", "ftp://ragline.test", "http://", "http://a b:c"])
def test_an_address_that_is_none_is_refused(kind: type[Ragline], address: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        kind(address)


def test_a_password_in_the_address_is_not_told() -> None:
    with Ragline("http://me:hidden@ragline.test:8000") as client:
        assert repr(client) == "Ragline('http://ragline.test:8000')"
