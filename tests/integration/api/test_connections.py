"""Bytes on a connection are read as RFC 9112 demands or refused, and nobody holds a connection by being slow."""

import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.support.api import SERVERS, ApiAlone, running_api

HOST = b"Host: ragline\r\n"
POST = b"POST /tasks/process HTTP/1.1\r\n" + HOST
SMUGGLED = b"GET /v1/collections/smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
NOTED = b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
HEAD_SECONDS = 10
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@pytest.fixture(scope="module", params=SERVERS)
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiAlone]:
    with running_api(tmp_path_factory.mktemp("api"), request.param) as running:
        yield running


def _answer(connection: socket.socket) -> bytes:
    """All bytes until the server closes the connection."""
    answer = b""
    while part := connection.recv(65536):
        answer += part
    return answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello",
        POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
        POST + b"Content-Length: 5, 6\r\n\r\nhello",
        POST + b"Content-Length: +5\r\n\r\nhello",
        POST + b"Content-Length: 0x5\r\n\r\nhello",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 18446744073709551621\r\n\r\nhello",
        POST + b"Content-Length:\r\n\r\n",
        POST + b"Content-Length : 5\r\n\r\nhello",
        POST + b" Content-Length: 5\r\n\r\nhello",
        POST + b"X: y\r\n Content-Length: 5\r\n\r\nhello",
        POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: identity\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        CHUNKED + b"\r\n0x5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"\r\n-5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"\r\n5 \r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"\r\n3\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"\r\n\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"\r\n5\nhello\r\n0\r\n\r\n",
        CHUNKED + b"\r\n5\r\nhello\n0\r\n\r\n",
        CHUNKED + b"\r\n5;a\nb\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"\r\n0\n\n",
        CHUNKED + b"\r\n0\r\nContent-Length: 5\r\n\r\nhello",
        b"GET /healthz HTTP/1.1\n" + HOST + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\nContent-Length: 5\r\n\r\nhello",
        b"GET /healthz HTTP/1.1\r\n" + HOST + b"\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\rContent-Length: 5\r\n\r\nhello",
        b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"GET /heal\x01thz HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /healthz HTTP/1.2\r\n" + HOST + b"\r\n",
        b"CONNECT ragline:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
)
def test_what_two_readers_could_read_differently_is_refused(api: ApiAlone, request_bytes: bytes) -> None:
    with api.connect() as connection:
        connection.sendall(request_bytes + SMUGGLED)
        answer = _answer(connection)

    assert STATUS.findall(answer) == [b"400"]
    assert b"application/problem+json" in answer
    assert b"connection: close" in answer
    assert b'"request_id":"req_' in answer
    assert "smuggled" not in api.process.log.read_text()


@pytest.mark.parametrize(
    ("request_bytes", "statuses"),
    [
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n", [b"200", b"404"]),
        # A body is a body, though nobody asks for it.
        (
            b"GET /healthz HTTP/1.1\r\nContent-Length: %d\r\n" % len(SMUGGLED) + HOST + b"\r\n" + SMUGGLED,
            [b"200", b"404"],
        ),
        (CHUNKED + b"\r\n5;name=value\r\nhello\r\n0\r\n\r\n", [b"415", b"404"]),
        (b"GET http://other/healthz HTTP/1.1\r\n" + HOST + b"\r\n", [b"200", b"404"]),
        (POST + b"Content_Length: 5\r\n\r\n", [b"422", b"404"]),
        # Section 6.1: the framing is faulty, so that nothing after it is read.
        (b"POST /tasks/process HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [b"422"]),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", [b"200"]),
        (b"GET /healthz HTTP/1.0\r\n\r\n", [b"200"]),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", [b"200"]),
        (POST + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello", [b"422"]),
        # The first request was whole and has its answer.
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\nno request\r\n\r\n", [b"200"]),
    ],
)
def test_what_is_clear_is_read_as_it_is_meant(api: ApiAlone, request_bytes: bytes, statuses: list[bytes]) -> None:
    last = b"GET /v1/collections/absent HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    with api.connect() as connection:
        connection.sendall(request_bytes + last)
        assert STATUS.findall(_answer(connection)) == statuses


def test_a_trailer_is_no_header(api: ApiAlone) -> None:
    """A proxy that takes headers away, or adds them, has not seen it."""
    body = b'c\r\n{"data": "x"\r\n1\r\n}\r\n0\r\nX-Request-ID: from-a-trailer\r\n\r\n'
    last = b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    for when in (POST + NOTED + b"\r\n" + body + last, POST + NOTED + b"X-Request-ID: mine\r\n\r\n" + body + last):
        with api.connect() as connection:
            connection.sendall(when)
            answer = _answer(connection)
        assert STATUS.findall(answer) == [b"200", b"200"]
        assert (b"from-a-trailer" in answer, b": mine" in answer) == (False, b": mine" in when)


def test_a_head_without_end_is_refused(api: ApiAlone) -> None:
    with api.connect() as connection:
        # At once: what is still on its way when the server closes would take its answer along.
        connection.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + (b"X: " + b"x" * 1000 + b"\r\n") * 70)
        assert STATUS.findall(connection.recv(65536)) == [b"431"]


def _seconds_until_closed(api: ApiAlone, first: bytes, then: bytes) -> tuple[float, bytes]:
    """How long a client lives that begins so and goes on so, twice a second."""
    started, answer = time.monotonic(), b""
    with api.connect() as connection:
        connection.sendall(first)
        connection.settimeout(0.5)
        while time.monotonic() - started < 3 * HEAD_SECONDS:
            try:
                part = connection.recv(65536)
                answer += part
                if not part:
                    break
                continue
            except TimeoutError:
                pass
            except ConnectionResetError:
                break
            if then:
                connection.sendall(then)
    return time.monotonic() - started, answer


@pytest.mark.slow
def test_a_head_that_does_not_come_is_not_waited_for(api: ApiAlone) -> None:
    whole = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    clients = [(b"", b""), (b"GET", b""), (whole[:-2], b"X: y\r\n"), (whole[:-2] + b"X: ", b"y"), (b"\r\n", b"\r\n")]
    # The next request of a connection is no different from the first.
    clients += [(whole + b"GET /he", b"l"), (whole + whole[:-2], b"X: y\r\n")]

    with ThreadPoolExecutor(len(clients)) as pool:
        ends = list(pool.map(lambda client: _seconds_until_closed(api, *client), clients))

    assert [seconds for seconds, _ in ends if not HEAD_SECONDS - 1 < seconds < HEAD_SECONDS + 5] == []
    answers = [STATUS.findall(answer) for _, answer in ends]
    assert answers == [[], [b"408"], [b"408"], [b"408"], [b"408"], [b"200", b"408"], [b"200", b"408"]]
    assert all(b"problem+json" in answer for _, answer in ends[1:5])


# More than one read of the server, which is not counted beside the end of another request, and the bound together.
@pytest.mark.parametrize("then", [b"X: y\r\n" * 60_000, b"no request\r\n\r\n"], ids=["endless-head", "no-request"])
def test_an_answer_on_its_way_is_not_disturbed(api: ApiAlone, then: bytes) -> None:
    """The bytes of a refusal would pass for a part of it."""
    address = f"/v1/collections/waiting/documents?name={len(then)}.pdf"
    upload = api.client.post(address, content=b"%PDF-1.7", headers={"Content-Type": "application/pdf"})
    with api.connect() as connection:
        connection.sendall(b"GET %s?wait=4 HTTP/1.1\r\n" % upload.headers["location"].encode() + HOST + b"\r\n")
        # By then the first request has been read.
        assert api.client.get("/healthz").status_code == 200
        connection.sendall(b"GET /healthz HTTP/1.1\r\n" * then.startswith(b"X") + then)
        answer = _answer(connection)

    assert STATUS.findall(answer) == [b"200"]
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    assert json.loads(body)["status"] == "queued"


def test_200_slow_clients_do_not_stop_others(api: ApiAlone) -> None:
    upload = b"POST /v1/collections/slow/documents?name=a.pdf HTTP/1.1\r\n" + HOST
    slow = [
        b"GET /healthz HTTP/1.1\r\nX: ",
        upload + b"Content-Type: application/pdf\r\nContent-Length: 100000\r\n\r\n%PDF-1.7",
        b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
        b"",
    ]
    with ExitStack() as exits:
        connections = [exits.enter_context(api.connect()) for _ in range(200)]
        for number, connection in enumerate(connections):
            connection.sendall(slow[number % len(slow)])
        for _ in range(20):
            for connection in connections[::4] + connections[1::4]:
                connection.sendall(b"x")
            started = time.monotonic()
            assert api.client.get("/healthz").status_code == 200
            assert api.client.get("/tasks/info").status_code == 200
            assert time.monotonic() - started < 2
