"""Around every request: ids, limits, one log line, and a problem when all else fails."""

import asyncio
import io
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import orjson
import pytest
import structlog
from fastapi import FastAPI, Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope
from structlog.typing import EventDict

from ragline.api import middleware
from ragline.api.middleware import BodyLimitMiddleware, DefectMiddleware, RequestContextMiddleware
from ragline.api.problems import PROBLEM_MEDIA_TYPE, install_problem_handlers
from ragline.common.errors import RequestTimeout
from ragline.common.logging import configure_logging
from tests.support.virtual_time import VirtualTimeLoop

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NEW_REQUEST_ID = re.compile(r"req_[0-9a-f]{16}")
NEW_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01")
MEBIBYTE = 2**20
UPLOAD_LIMIT_BYTES = 3 * MEBIBYTE
MULTIPART_SLACK_BYTES = 2**19
BATCH_UPLOADS = 20
SECRET = "a question nobody should read"


class Reply:
    """What an app sent."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {key.decode(): value.decode() for key, value in message["headers"]}
        else:
            self.body += message.get("body", b"")

    @property
    def json(self) -> dict[str, Any]:
        body: dict[str, Any] = orjson.loads(self.body)
        return body


def _app() -> FastAPI:
    app = FastAPI()
    install_problem_handlers(app)
    app.add_middleware(BodyLimitMiddleware, max_upload_bytes=UPLOAD_LIMIT_BYTES)
    app.add_middleware(DefectMiddleware)
    app.add_middleware(RequestContextMiddleware)

    @app.post("/defect")
    async def _defect() -> None:
        question = SECRET
        raise ZeroDivisionError(len(question))

    @app.post("/{path:path}")
    async def _echo(request: Request, path: str) -> dict[str, Any]:
        trace = request.state.trace
        size = sum([len(part) async for part in request.stream()])
        return {"request_id": trace.request_id, "trace_id": trace.trace_id, "path": path, "bytes": size}

    return app


def _post(
    path: str = "/",
    *,
    headers: Sequence[tuple[bytes, bytes]] = (),
    parts: Sequence[bytes] = (),
    leaves: bool = False,
    stalls: bool = False,
    app: ASGIApp | None = None,
) -> Reply:
    """One request straight at the app: a client library would refuse to send hostile headers.

    Parameters
    ----------
    leaves
        The client leaves after these parts of its body.
    stalls
        Nothing comes after them.
    """
    messages: list[Message] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages += [] if leaves or stalls else [{"type": "http.request", "body": b"", "more_body": False}]
    unread = iter(messages)

    async def receive() -> Message:
        message = next(unread, None)
        if message is None and stalls:
            await asyncio.Event().wait()
        return message or {"type": "http.disconnect"}

    reply = Reply()

    async def call() -> None:
        scope: Scope = {"type": "http", "method": "POST", "path": path, "headers": list(headers), "query_string": b""}
        await (app or _app())(scope, receive, reply.send)

    asyncio.run(call())
    return reply


@pytest.fixture(autouse=True)
def _own_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger that remembers no configuration of another test."""
    monkeypatch.setattr(middleware, "logger", structlog.get_logger())


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Everything that is logged, as production writes it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging(level="INFO", log_format="json", stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("wanted", ["a", "req_3f2a", "0b9e1f6e-1c2d-4a5b.x_y", "x" * 128])
def test_a_sane_request_id_is_echoed(wanted: str) -> None:
    reply = _post(headers=[(b"x-request-id", wanted.encode())])

    assert reply.headers["x-request-id"] == wanted == reply.json["request_id"]


@pytest.mark.parametrize(
    "wanted",
    [
        b"",
        b"two words",
        b"a\r\nSet-Cookie: x=1",
        b"a\n",
        b"\nb",
        b"x" * 129,
        b"x" * 10_240,
        "\u65e5\u672c".encode(),
        b"\xe9",
        b"a\0b",
        b"<script>",
        b'"} {"level": "error',
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_hostile_request_id_is_replaced(wanted: bytes) -> None:
    reply = _post(headers=[(b"x-request-id", wanted)])

    assert NEW_REQUEST_ID.fullmatch(reply.headers["x-request-id"])
    assert reply.json["request_id"] == reply.headers["x-request-id"]


def test_requests_without_ids_get_different_ones() -> None:
    first, second = _post(), _post()

    assert NEW_REQUEST_ID.fullmatch(first.headers["x-request-id"])
    assert NEW_TRACEPARENT.fullmatch(first.headers["traceparent"])
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.headers["traceparent"] != second.headers["traceparent"]


def test_a_trace_is_continued() -> None:
    reply = _post(headers=[(b"traceparent", TRACEPARENT.encode())])

    assert reply.headers["traceparent"] == TRACEPARENT
    assert reply.json["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    "wanted",
    [
        b"nonsense",
        TRACEPARENT.upper().encode(),
        b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-" + b"0" * 16 + b"-01",
        TRACEPARENT.encode() + b"\r\nx: y",
        TRACEPARENT.encode() * 100,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_wrong_trace_is_replaced(wanted: bytes) -> None:
    assert NEW_TRACEPARENT.fullmatch(_post(headers=[(b"traceparent", wanted)]).headers["traceparent"])


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/tasks/process", MEBIBYTE),
        ("/v1/collections/papers/queries", MEBIBYTE),
        ("/v1/collections/papers/documents/more", MEBIBYTE),
        ("/v1/collections/papers/documents", UPLOAD_LIMIT_BYTES + MULTIPART_SLACK_BYTES),
        ("/v1/collections/papers/documents/", UPLOAD_LIMIT_BYTES + MULTIPART_SLACK_BYTES),
        ("/v1/collections/papers/documents/batch", BATCH_UPLOADS * UPLOAD_LIMIT_BYTES + MULTIPART_SLACK_BYTES),
    ],
)
@pytest.mark.parametrize("announced", [True, False], ids=["with-length", "chunked"])
def test_the_limit_of_a_body_is_exact(path: str, limit: int, *, announced: bool) -> None:
    full = [b"x" * MEBIBYTE] * (limit // MEBIBYTE) + [b"x" * (limit % MEBIBYTE)]

    for parts, size in ((full, limit), ([*full, b"x"], limit + 1)):
        reply = _post(path, headers=[(b"content-length", b"%d" % size)] * announced, parts=parts)
        if size == limit:
            assert reply.json["bytes"] == limit
            continue
        assert (reply.status, reply.headers["content-type"]) == (413, PROBLEM_MEDIA_TYPE)
        assert (reply.json["code"], reply.json["detail"]) == ("too_large", f"The body has more than {limit} bytes")
        assert reply.json["request_id"] == reply.headers["x-request-id"]


def test_an_announced_length_is_believed_before_a_byte_is_read() -> None:
    reply = _post(headers=[(b"content-length", b"%d" % 10**15)], leaves=True)

    assert reply.status == 413


@pytest.mark.parametrize("announced", [b"-1", b"1e9", b"\xb2", b"", b"1, 1", b"0x10"])
def test_a_length_that_is_none_is_not_believed(announced: bytes) -> None:
    headers = [(b"content-length", announced)]

    assert _post(headers=headers, parts=[b"abc"]).json["bytes"] == 3
    assert _post(headers=headers, parts=[b"x" * MEBIBYTE, b"x"]).status == 413


def test_a_body_that_lies_about_its_length_is_counted() -> None:
    assert _post(headers=[(b"content-length", b"3")], parts=[b"x" * MEBIBYTE, b"x"]).status == 413


@pytest.mark.parametrize("parts", [[], [b"x"]], ids=["at-once", "later"])
def test_a_body_that_stops_coming_is_408(parts: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "_BODY_PAUSE_SECONDS", 0.01)

    reply = _post("/v1/collections/papers/documents", parts=parts, stalls=True)

    assert (reply.status, reply.json["code"], reply.json["retryable"]) == (408, "request_timeout", False)
    assert reply.headers["connection"] == "close"


@pytest.mark.parametrize(("part", "passes"), [(b"x", False), (b"x" * 2048, True)], ids=["trickle", "flow"])
def test_a_body_that_only_trickles_is_not_waited_for(
    part: bytes, monkeypatch: pytest.MonkeyPatch, *, passes: bool
) -> None:
    monkeypatch.setattr(middleware, "_BODY_PAUSE_SECONDS", 20)
    left = 60

    async def receive() -> Message:
        nonlocal left
        left -= 1
        await asyncio.sleep(1)
        return {"type": "http.request", "body": part, "more_body": left > 0}

    async def app(_scope: Scope, receive: Receive, _send: object) -> None:
        while (await receive())["more_body"]:
            pass

    scope: Scope = {"type": "http", "path": "/v1/collections/papers/documents", "headers": []}
    request = BodyLimitMiddleware(app, max_upload_bytes=MEBIBYTE)(scope, receive, Reply().send)
    with (
        nullcontext() if passes else pytest.raises(RequestTimeout),
        asyncio.Runner(loop_factory=VirtualTimeLoop) as runner,
    ):
        runner.run(request)
    assert (left == 0) is passes


def test_a_client_may_stay_as_long_as_it_likes_after_its_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event stream waits for its client to leave."""
    monkeypatch.setattr(middleware, "_BODY_PAUSE_SECONDS", 0.01)
    messages: list[Message] = [{"type": "http.request", "body": b"x"}, {"type": "http.disconnect"}]
    seen: list[str] = []

    async def receive() -> Message:
        if seen:
            await asyncio.sleep(0.05)
        return messages[len(seen)]

    async def app(_scope: Scope, receive: Receive, _send: object) -> None:
        seen.append((await receive())["type"])
        seen.append((await receive())["type"])

    scope: Scope = {"type": "http", "path": "/", "headers": []}
    asyncio.run(BodyLimitMiddleware(app, max_upload_bytes=1)(scope, receive, Reply().send))
    assert seen == ["http.request", "http.disconnect"]


def test_an_unexpected_exception_is_a_problem(logs: list[EventDict]) -> None:
    reply = _post("/defect", headers=[(b"x-request-id", b"req_7")])

    assert (reply.status, reply.headers["content-type"]) == (500, PROBLEM_MEDIA_TYPE)
    assert (reply.json["code"], reply.json["detail"]) == ("internal_error", "The error was recorded")
    assert reply.json["request_id"] == "req_7"
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("request failed by a defect", "error"),
        ("request", "info"),
    ]
    assert logs[1]["status"] == 500


def test_a_defect_is_logged_once_with_its_place_and_without_locals(written: io.StringIO) -> None:
    _post("/defect", headers=[(b"x-request-id", b"req_7")])

    lines = [orjson.loads(line) for line in written.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["request failed by a defect", "request"]
    assert {line["request_id"] for line in lines} == {"req_7"}
    [trace] = {line["trace_id"] for line in lines}
    assert re.fullmatch(r"[0-9a-f]{32}", trace)
    raised = lines[0]["exception"][0]
    assert (raised["exc_type"], raised["frames"][-1]["name"]) == ("ZeroDivisionError", "_defect")
    assert SECRET not in written.getvalue()
    assert "locals" not in written.getvalue()


def test_an_exception_after_the_first_byte_ends_the_connection(logs: list[EventDict]) -> None:
    async def late(_scope: Scope, _receive: object, send: Any) -> None:  # noqa: ANN401 - of ASGI
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        _post(app=RequestContextMiddleware(DefectMiddleware(late)))
    assert [entry["event"] for entry in logs] == ["request failed by a defect"]


def test_a_client_that_leaves_is_no_defect(logs: list[EventDict]) -> None:
    reply = _post("/v1/collections/papers/documents", parts=[b"%PDF-1.7"], leaves=True)

    assert reply.status == 0
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("client left before its request was read", "info"),
        ("request", "info"),
    ]


def test_every_request_is_one_line(logs: list[EventDict]) -> None:
    _post("/v1/collections/papers/queries")

    [line] = logs
    assert (line["event"], line["method"], line["status"]) == ("request", "POST", 200)
    assert line["path"] == "/v1/collections/papers/queries"
    assert line["seconds"] >= 0


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/readyz"])
def test_probes_are_not_logged(path: str, logs: list[EventDict]) -> None:
    assert _post(path).status == 200
    assert logs == []


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_other_protocols_pass_untouched(kind: str) -> None:
    seen: list[str] = []

    async def app(scope: Scope, _receive: object, _send: object) -> None:
        seen.append(scope["type"])
        assert "state" not in scope

    service = RequestContextMiddleware(DefectMiddleware(BodyLimitMiddleware(app, max_upload_bytes=1)))

    async def never(*_: object) -> Any:  # noqa: ANN401 - of ASGI
        raise ClientDisconnect

    asyncio.run(_called(service, {"type": kind}, never))
    assert seen == [kind]


async def _called(app: ASGIApp, scope: Scope, channel: Any) -> None:  # noqa: ANN401 - of ASGI
    await app(scope, channel, channel)
