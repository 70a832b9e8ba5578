"""Logs: one object a line for machines, nothing secret in tracebacks, libraries included."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import uuid4

import pytest
import structlog

from ragline.common.logging import configure_logging
from tests.support.logs import logging_as_before

SECRET = "a-secret-of-a-test"

FORMATS: list[Literal["json", "console"]] = ["json", "console"]

every_format = pytest.mark.parametrize("log_format", FORMATS)

LOGGERS_OF_LIBRARIES = ("httpx", "kombu", "openai", "chromadb", "celery.app.trace")

SERVER_LOGGERS = ("uvicorn", "uvicorn.error")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    with logging_as_before():
        yield


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def name() -> str:
    """Of a logger that no other test has used: loggers keep what they were configured with."""
    return f"test-{uuid4().hex}"


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return [json.loads(line, parse_constant=refuse) for line in stream.getvalue().splitlines()]


def _fail_with_locals() -> None:
    password = SECRET  # noqa: F841 - what must not be seen
    headers = {"authorization": [SECRET]}

    def inner(question: str) -> None:
        raise ValueError("inner failure")

    try:
        inner(headers["authorization"][0])
    except ValueError as error:
        raise RuntimeError("outer failure") from error


def _fail_as_a_group() -> None:
    errors: list[Exception] = []
    for _ in range(2):
        try:
            _fail_with_locals()
        except RuntimeError as error:
            errors.append(error)
    raise ExceptionGroup("several failures", errors)


def test_each_line_is_one_object(stream: io.StringIO, name: str) -> None:
    configure_logging(level="INFO", log_format="json", stream=stream)
    log = structlog.get_logger(name)
    log.info("several\nlines", text='quotes " and \u2028 and 世界', nothing=None, numbers=[1, 2.5], flag=True)
    log.warning("100% sure, %s")
    log.warning("%d of %s", 5, "many")
    log.error("of any type", path=object, data=b"\xff", when=timedelta(seconds=1), error=ValueError("x"))
    first, second, third, fourth = _lines(stream)
    assert (first["event"], first["level"], first["logger"]) == ("several\nlines", "info", name)
    assert (first["text"], first["nothing"], first["numbers"]) == ('quotes " and \u2028 and 世界', None, [1, 2.5])
    assert second["event"] == "100% sure, %s"
    assert third["event"] == "5 of many"
    assert fourth["error"] == "ValueError('x')"


def test_time_is_utc(stream: io.StringIO, name: str) -> None:
    configure_logging(level="INFO", log_format="json", stream=stream)
    structlog.get_logger(name).info("now")
    (line,) = _lines(stream)
    written = datetime.fromisoformat(line["timestamp"])
    assert written.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - written) < timedelta(seconds=30)


def test_libraries_log_into_the_same_stream(stream: io.StringIO, name: str) -> None:
    configure_logging(level="INFO", log_format="json", stream=stream)
    logging.getLogger(name).info("%d of %s", 5, "many")
    logging.getLogger(f"{name}.child").warning("no arguments, 5%")
    assert [(line["event"], line["level"]) for line in _lines(stream)] == [
        ("5 of many", "info"),
        ("no arguments, 5%", "warning"),
    ]


def test_bound_context_is_on_every_line(stream: io.StringIO, name: str) -> None:
    configure_logging(level="INFO", log_format="json", stream=stream)
    with structlog.contextvars.bound_contextvars(job_id="job_1"):
        structlog.get_logger(name).info("ours")
        logging.getLogger(name).info("of a library")
    structlog.get_logger(name).info("later")
    assert [line.get("job_id") for line in _lines(stream)] == ["job_1", "job_1", None]


@every_format
@pytest.mark.parametrize("fail", [_fail_with_locals, _fail_as_a_group])
@pytest.mark.parametrize("library", [False, True], ids=["ours", "library"])
def test_traceback_shows_no_local_variables(
    log_format: Literal["json", "console"], fail: Callable[[], None], library: bool, stream: io.StringIO, name: str
) -> None:
    """They hold document text, questions and keys."""
    configure_logging(level="INFO", log_format=log_format, stream=stream)
    log = logging.getLogger(name) if library else structlog.get_logger(name)
    try:
        fail()
    except Exception:
        log.exception("it broke")
        log.warning("it broke", exc_info=True)
    text = stream.getvalue()
    assert SECRET not in text
    for shown in ("it broke", "outer failure", "inner failure", "_fail_with_locals", "test_logging.py"):
        assert text.count(shown) >= 2, shown


def test_exception_is_part_of_its_line(stream: io.StringIO, name: str) -> None:
    configure_logging(level="INFO", log_format="json", stream=stream)
    try:
        _fail_with_locals()
    except RuntimeError:
        structlog.get_logger(name).exception("it broke", job_id="job_1")
    (line,) = _lines(stream)
    assert (line["event"], line["level"], line["job_id"]) == ("it broke", "error", "job_1")
    assert [error["exc_type"] for error in line["exception"]] == ["RuntimeError", "ValueError"]
    assert line["exception"][0]["frames"][-1]["name"] == "_fail_with_locals"


def test_console_is_for_people(stream: io.StringIO, name: str) -> None:
    configure_logging(level="INFO", log_format="console", stream=stream)
    structlog.get_logger(name).warning("something happened", count=3)
    logging.getLogger(name).info("of a library")
    first, second = stream.getvalue().splitlines()
    assert "something happened" in first
    assert "count=3" in first
    assert "of a library" in second
    # No colours where nobody sees them.
    assert "\x1b" not in stream.getvalue()


@every_format
@pytest.mark.parametrize(
    ("level", "seen"),
    [
        ("DEBUG", ["debug", "info", "warning", "error"]),
        ("INFO", ["info", "warning", "error"]),
        ("WARNING", ["warning", "error"]),
        ("ERROR", ["error"]),
    ],
)
def test_lower_levels_are_left_out(
    level: str, seen: list[str], log_format: Literal["json", "console"], stream: io.StringIO, name: str
) -> None:
    configure_logging(level=level, log_format=log_format, stream=stream)
    for log, word in ((structlog.get_logger(name), "ours"), (logging.getLogger(name), "theirs")):
        for method in ("debug", "info", "warning", "error"):
            getattr(log, method)(f"{word}-{method}")
    expected = [f"{word}-{method}" for word in ("ours", "theirs") for method in seen]
    lines = stream.getvalue().splitlines()
    assert len(lines) == len(expected)
    assert all(event in line for event, line in zip(expected, lines, strict=True))


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING"])
@pytest.mark.parametrize("library", LOGGERS_OF_LIBRARIES)
def test_chatty_libraries_speak_when_something_is_wrong(level: str, library: str, stream: io.StringIO) -> None:
    configure_logging(level=level, log_format="json", stream=stream)
    for log in (logging.getLogger(library), logging.getLogger(f"{library}.part")):
        log.debug("chat")
        log.info("chat")
        log.warning("something is wrong")
    assert [line["event"] for line in _lines(stream)] == ["something is wrong"] * 2


def test_chatty_library_is_not_louder_than_the_rest(stream: io.StringIO) -> None:
    configure_logging(level="ERROR", log_format="json", stream=stream)
    logging.getLogger("httpx").warning("not that wrong")
    assert stream.getvalue() == ""


def test_server_logs_go_the_same_way(stream: io.StringIO) -> None:
    """Uvicorn brings handlers of its own."""
    own = io.StringIO()
    for name in SERVER_LOGGERS:
        logging.getLogger(name).addHandler(logging.StreamHandler(own))
        logging.getLogger(name).propagate = False
        # A server that another test has run may have left it at its own level.
        logging.getLogger(name).setLevel(logging.NOTSET)
    configure_logging(level="INFO", log_format="json", stream=stream)
    logging.getLogger("uvicorn.error").info("Application startup complete.")
    assert [line["event"] for line in _lines(stream)] == ["Application startup complete."]
    assert own.getvalue() == ""


def test_configuring_again_replaces(stream: io.StringIO, name: str) -> None:
    first = io.StringIO()
    configure_logging(level="DEBUG", log_format="console", stream=first)
    configure_logging(level="INFO", log_format="json", stream=stream)
    logging.getLogger(name).info("once")
    logging.getLogger(name).debug("never")
    assert first.getvalue() == ""
    assert [line["event"] for line in _lines(stream)] == ["once"]
