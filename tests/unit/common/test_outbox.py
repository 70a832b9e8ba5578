"""No collector holds up work: what it does not take is dropped, and told once."""

import threading
import time
from collections.abc import Sequence

import pytest
import structlog

from ragline.common.outbox import Outbox, Send
from ragline.common.span_names import SpanKind
from ragline.common.spans import Span, Tracer
from tests.support.waiting import wait_until


def _span(name: str = "step") -> Span:
    return Tracer(ratio=1, content=False, deliver=lambda _: None).root(name, SpanKind.CONSUMER)


class _Collector:
    """Takes spans, refuses them, or hangs, as it is told."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.refused = 0
        self.refuses = False
        self.goes_on = threading.Event()
        self.goes_on.set()

    def connect(self) -> Send:
        return self.send

    def send(self, spans: Sequence[Span]) -> bool:
        self.goes_on.wait(30)
        if self.refuses:
            self.refused += len(spans)
            return False
        self.taken += [span.name for span in spans]
        return True


@pytest.fixture
def collector() -> _Collector:
    return _Collector()


def test_spans_go_out_in_their_order(collector: _Collector) -> None:
    outbox = Outbox(collector.connect)
    names = [str(number) for number in range(2000)]
    for name in names:
        outbox.put(_span(name))
    outbox.close(5)
    assert collector.taken == names


def test_a_lonely_span_goes_out_soon(collector: _Collector) -> None:
    outbox = Outbox(collector.connect)
    outbox.put(_span())
    wait_until(lambda: collector.taken == ["step"], timeout_seconds=5)
    outbox.close(5)


def test_a_collector_that_hangs_holds_up_nobody(collector: _Collector) -> None:
    collector.goes_on.clear()
    outbox = Outbox(collector.connect)
    started = time.monotonic()
    for _ in range(20_000):
        outbox.put(_span())
    assert time.monotonic() - started < 5
    assert len(outbox._waiting) <= 4096
    started = time.monotonic()
    with structlog.testing.capture_logs() as logs:
        outbox.close(0.2)
    assert time.monotonic() - started < 2
    assert [line["event"] for line in logs] == ["spans not exported"]
    assert logs[0]["lost"].endswith(" spans")
    collector.goes_on.set()
    outbox._thread.join()


def test_an_outage_is_told_at_its_beginning_and_its_end(collector: _Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragline.common.outbox._PERIOD_SECONDS", 0.01)
    monkeypatch.setattr("ragline.common.outbox._PAUSE_SECONDS", 0.01)
    collector.refuses = True
    with structlog.testing.capture_logs() as logs:
        outbox = Outbox(collector.connect)
        for number in range(1, 4):
            outbox.put(_span())
            wait_until(lambda number=number: collector.refused == number, timeout_seconds=5)  # type: ignore[misc]
        collector.refuses = False
        outbox.put(_span("after"))
        wait_until(lambda: collector.taken == ["after"], timeout_seconds=5)
        outbox.close(5)
    assert [(line["event"], line["lost"]) for line in logs] == [
        ("spans not exported", "spans"),
        ("spans exported again", "3 spans"),
    ]


def test_whatever_is_wrong_with_the_exporter_the_process_goes_on() -> None:
    def connect() -> Send:
        raise ImportError("no such library")

    with structlog.testing.capture_logs() as logs:
        outbox = Outbox(connect)
        outbox.put(_span())
        outbox.close(5)
    assert [(line["event"], line.get("reason")) for line in logs] == [
        ("spans not exported", "ImportError"),
        ("spans not exported", None),
    ]
