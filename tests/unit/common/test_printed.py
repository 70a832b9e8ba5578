"""What is printed becomes log lines, and a log that fails does not run in circles."""

import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from typing_extensions import override

from ragline.common.logging import configure_logging
from ragline.common.printed import PrintedLines, real_stream
from tests.support.logs import logging_as_before


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    written = io.StringIO()
    with logging_as_before():
        configure_logging(level="INFO", log_format="json", stream=written)
        yield written


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_each_printed_line_is_a_log_line(stream: io.StringIO) -> None:
    printed = PrintedLines(sys.stderr, logging.WARNING)
    print("one", "and", "the same", file=printed)
    print("two\n\nthree", file=printed)
    assert [(line["event"], line["level"], line["text"]) for line in _lines(stream)] == [
        ("printed", "warning", text) for text in ("one and the same", "two", "three")
    ]


def test_a_line_comes_whole_or_when_it_is_flushed(stream: io.StringIO) -> None:
    printed = PrintedLines(sys.stdout, logging.INFO)
    print("half ", end="", file=printed)
    assert _lines(stream) == []
    print("a line", file=printed)
    print("a rest", end="", file=printed, flush=True)
    assert [line["text"] for line in _lines(stream)] == ["half a line", "a rest"]


def test_threads_do_not_mix_their_lines(stream: io.StringIO) -> None:
    printed = PrintedLines(sys.stdout, logging.INFO)
    print("ours ", end="", file=printed)
    other = threading.Thread(target=print, args=("theirs",), kwargs={"file": printed})
    other.start()
    other.join()
    print("again", file=printed)
    assert [line["text"] for line in _lines(stream)] == ["theirs", "ours again"]


def test_a_log_that_cannot_be_written_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.StringIO):
        @override
        def write(self, text: str) -> int:
            raise ValueError("nobody reads this")

    real = io.StringIO()
    monkeypatch.setattr(sys, "stderr", PrintedLines(real, logging.WARNING))
    with logging_as_before():
        configure_logging(level="INFO", log_format="json", stream=Broken())
        logging.getLogger("of-a-test").warning("lost")
    assert "nobody reads this" in real.getvalue()


def test_the_stream_behind_is_found() -> None:
    stream = io.StringIO()
    printed = PrintedLines(PrintedLines(stream, logging.INFO), logging.INFO)  # type: ignore[arg-type] # is one in all but name
    assert real_stream(printed) is stream  # type: ignore[arg-type] # the same
    assert real_stream(stream) is stream


ENDS_BADLY = """
import sys, threading, warnings
from ragline.common.logging import begin_logging
begin_logging()
print("to stdout")
print("to stderr", file=sys.stderr)
warnings.warn("take care")
thread = threading.Thread(target=lambda: 1 / 0, name="side")
thread.start()
thread.join()
class Falls:
    def __del__(self):
        raise RuntimeError("at its end")
Falls()
def fail():
    password = "a-secret-of-a-test"
    raise LookupError("not found")
fail()
"""


def _ended_badly(**environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "always", "-c", ENDS_BADLY]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


def test_whatever_happens_in_a_container_is_one_line_each() -> None:
    done = _ended_badly()
    assert (done.returncode, done.stdout) == (1, "")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["event"], line["level"]) for line in lines if line["logger"] != "py.warnings"] == [
        ("printed", "info"),
        ("printed", "warning"),
        ("thread failed by a defect", "critical"),
        ("exception that nobody could catch", "error"),
        ("process failed by a defect", "critical"),
    ]
    (warned,) = [line for line in lines if line["logger"] == "py.warnings"]
    assert "UserWarning: take care" in warned["event"]
    thread, unraisable, uncaught = lines[-3:]
    assert (thread["thread"], thread["exception"][0]["exc_type"]) == ("side", "ZeroDivisionError")
    assert (unraisable["where"], unraisable["exception"][0]["exc_value"]) == ("Falls.__del__", "at its end")
    assert (uncaught["exception"][0]["exc_type"], uncaught["next"]) == ("LookupError", "it ends")
    assert "a-secret-of-a-test" not in done.stderr.replace(ENDS_BADLY, "")


def test_people_get_text() -> None:
    done = _ended_badly(LOG_FORMAT="console")
    assert done.stdout == "to stdout\n"
    assert "to stderr\n" in done.stderr
    assert "process failed by a defect" in done.stderr
    assert "LookupError: not found" in done.stderr
