"""Every call of another part is measured, and is a span when what calls it is one."""

import asyncio
from collections.abc import Iterator

import pytest

from ragline.common.calls import called, measure_calls
from ragline.common.errors import ProtocolError, RejectedError, TooLarge, TransientError
from ragline.common.span_names import GEN_AI_MODEL, GEN_AI_OPERATION, Dependency, SpanKind
from ragline.common.spans import Span, Tracer, entered

Measured = tuple[str, str, str]


@pytest.fixture
def measured() -> Iterator[list[Measured]]:
    rows: list[Measured] = []
    end = measure_calls(lambda dependency, operation, outcome, _: rows.append((dependency, operation, outcome)))
    yield rows
    end()


@pytest.fixture
def delivered() -> Iterator[list[Span]]:
    """Spans below a step that this test is."""
    spans: list[Span] = []
    with entered(Tracer(ratio=1, content=False, deliver=spans.append).root("step", SpanKind.CONSUMER)):
        yield spans


def test_a_call_is_a_client_span(delivered: list[Span]) -> None:
    with called(Dependency.CHROMA, "query", {"db.system.name": "chroma"}) as call:
        call.note({"ragline.texts": 3})
        assert not call.content
    (span,) = delivered
    assert (span.name, span.kind, span.error) == ("chroma query", SpanKind.CLIENT, "")
    assert span.attributes == {"db.system.name": "chroma", "ragline.texts": 3}


def test_a_call_of_a_model_is_named_after_it(delivered: list[Span]) -> None:
    with called(Dependency.CHAT, "rewrite", {GEN_AI_OPERATION: "chat", GEN_AI_MODEL: "small"}):
        pass
    assert [span.name for span in delivered] == ["chat small"]


def test_the_ledgers_calls_are_measured_only(delivered: list[Span], measured: list[Measured]) -> None:
    with called(Dependency.REDIS, "record"):
        pass
    assert delivered == []
    assert measured == [("redis", "record", "ok")]


@pytest.mark.parametrize(
    ("error", "outcome", "noted"),
    [
        (TransientError("chroma", "query", "HTTP 503"), "transient", "dependency_unavailable"),
        (RejectedError("chroma", "query", "no"), "rejected", "dependency_rejected"),
        (ProtocolError("chroma", "query", "no"), "protocol", "dependency_protocol"),
        (TooLarge("the body"), "abandoned", ""),
        (asyncio.CancelledError(), "abandoned", ""),
        (ZeroDivisionError("1 / 0"), "defect", "ZeroDivisionError"),
    ],
)
def test_failures_are_told_by_their_kind(
    delivered: list[Span], measured: list[Measured], error: BaseException, outcome: str, noted: str
) -> None:
    with pytest.raises(type(error)), called(Dependency.CHROMA, "query"):
        raise error
    assert measured == [("chroma", "query", outcome)]
    assert delivered[0].error == noted


def test_a_reply_that_nobody_reads_on_is_abandoned(delivered: list[Span], measured: list[Measured]) -> None:
    def stream() -> Iterator[int]:
        with called(Dependency.CHAT, "answer"):
            yield 1
            yield 2

    pieces = stream()
    next(pieces)
    del pieces
    assert measured == [("chat", "answer", "abandoned")]
    assert delivered[0].error == ""


def test_outside_of_a_step_there_are_no_spans(measured: list[Measured]) -> None:
    with called(Dependency.CHROMA, "heartbeat") as call:
        assert not call.content
    assert measured == [("chroma", "heartbeat", "ok")]
