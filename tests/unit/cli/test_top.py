import io
import re
from collections.abc import Callable

import httpx2
import pytest
from rich.console import Console

from ragline.cli.client import RaglineClient
from ragline.cli.top import top_view, watch
from ragline.cli.watching import ErrorView, QueueView, TopView, Watcher
from tests.support.fake_api import FakeApi

RAG = QueueView(
    name="rag",
    waiting=3,
    held=1,
    in_flight=2,
    workers=("rag@one",),
    oldest_seconds=125.0,
    in_per_second=1.5,
    out_per_second=2.0,
    wait_p50_seconds=0.05,
    wait_p95_seconds=1.2,
)
DARK = QueueView(
    name="document",
    waiting=4,
    held=None,
    in_flight=0,
    workers=(),
    oldest_seconds=None,
    in_per_second=None,
    out_per_second=None,
    wait_p50_seconds=None,
    wait_p95_seconds=None,
)
VIEW = TopView(
    queues=(RAG, DARK),
    documents={"indexed": 5, "failed": 0},
    errors=(ErrorView(what="step rag answer lost", lately=2, ever=7),),
    rate_seconds=60.0,
    error_seconds=300.0,
    gaps=(),
)


def drawn(view: TopView) -> str:
    console = Console(width=160, file=io.StringIO(), color_system=None)
    console.print(top_view(view))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def cells(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"│ {name} ")]
    return [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]


def test_a_queue_is_one_line() -> None:
    text = drawn(VIEW)
    assert cells(text, "rag") == ["rag", "3", "1", "2", "2 min", "1.50", "2.00", "50 ms", "1.2 s", "rag@one"]
    assert "documents: 5 indexed\n" in text
    assert cells(text, "step rag answer lost") == ["step rag answer lost", "2", "7"]
    assert "of the last 60 s" in text


def test_what_is_not_known_is_not_zero() -> None:
    text = drawn(VIEW)
    assert cells(text, "document") == [
        "document",
        "4",
        "?",
        "0",
        "?",
        "?",
        "?",
        "-",
        "-",
        "none: nobody takes what waits",
    ]
    dark = TopView(queues=(), documents=None, errors=None, rate_seconds=0, error_seconds=0, gaps=("No /metrics.",))
    assert drawn(dark).startswith("No /metrics.\n")
    assert "documents: ?" in drawn(dark)
    assert "errors: ?" in drawn(dark)


def test_many_errors_are_cut_short() -> None:
    errors = tuple(ErrorView(what=f"step {number}", lately=0, ever=1) for number in range(20))
    text = drawn(TopView(queues=(), documents={}, errors=errors, rate_seconds=0, error_seconds=0, gaps=()))
    assert "and 8 kinds more" in text
    assert "documents: none" in text


@pytest.fixture
def pauses() -> Callable[[float], None]:
    """Lets two pauses pass; in the third, somebody types Ctrl-C."""
    left = [1.0, 1.0]

    def pause(seconds: float) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()

    return pause


def test_an_api_that_goes_away_is_said_and_the_terminal_left_as_it_was(pauses: Callable[[float], None]) -> None:
    queue = {"name": "rag", "waiting": 3, "in_flight": 0, "workers": []}
    replies = [httpx2.Response(200, json={"queues": [queue]}), httpx2.Response(500), httpx2.Response(500)]
    api = FakeApi({"GET /tasks/info": replies, "GET /metrics": [httpx2.Response(404)]})
    console = Console(width=160, file=io.StringIO(), force_terminal=True)
    watch(Watcher(RaglineClient("http://one", transport=api.transport)), console, interval_seconds=1, pause=pauses)
    output = console.file
    assert isinstance(output, io.StringIO)
    text = output.getvalue()
    assert text.index("\x1b[?1049h") < text.index("Ctrl-C ends it") < text.index("answered 500")
    assert "What stands below is of" in text
    assert text.rindex("\x1b[?1049l") > text.rindex("\x1b[?1049h")
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
