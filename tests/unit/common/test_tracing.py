"""Tracing begins with an address and ends with a flush; without an address no exporter is even imported."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ragline.common.config import WorkerConfig
from ragline.common.otlp import sender
from ragline.common.span_names import PREVIOUS_ATTEMPT, SpanKind
from ragline.common.spans import Span, Tracer, active_tracer
from ragline.common.trace_context import new_trace
from ragline.common.tracing import start_tracing, stop_tracing
from tests.support.collector import Collector, collector

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
EARLIER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b8-01"


@pytest.fixture
def running() -> Iterator[Collector]:
    with collector() as server:
        yield server
    stop_tracing()


def _config(url: str, **settings: object) -> WorkerConfig:
    return WorkerConfig.model_validate({"otel_exporter_otlp_endpoint": url, **settings})


def _step(tracer: Tracer | None) -> Span:
    assert tracer is not None
    return tracer.root("index", SpanKind.CONSUMER, traceparent=PARENT)


def test_spans_arrive_with_all_they_say(running: Collector) -> None:
    start_tracing(
        _config(running.url, otel_exporter_otlp_headers="x-key=a%20b"), service="ragline-worker-rag", instance="rag@1"
    )
    step = _step(active_tracer())
    step.attributes |= {"ragline.attempt": 2, "gen_ai.response.finish_reasons": ("stop",)}
    step.links.append((EARLIER, PREVIOUS_ATTEMPT))
    step.fail("defect")
    step.end()
    stop_tracing()
    (span,) = running.spans()
    assert (span.service, span.name, span.kind, span.failed) == ("ragline-worker-rag", "index", "consumer", True)
    assert (span.trace_id, span.parent_id) == (PARENT[3:35], PARENT[36:52])
    assert span.links == (EARLIER[36:52],)
    assert span.attributes == {
        "ragline.attempt": 2,
        "gen_ai.response.finish_reasons": ("stop",),
        "error.type": "defect",
    }
    assert running.headers["x-key"] == "a b"


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # from Python 3.12 on: it has threads
def test_the_child_of_a_fork_has_a_tracer_of_its_own(running: Collector) -> None:
    start_tracing(_config(running.url), service="parent")
    child = os.fork()
    if not child:
        try:
            inherited = active_tracer()
            start_tracing(_config(running.url), service="child")
            _step(active_tracer()).end()
            stop_tracing()
        finally:
            os._exit(0 if inherited is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    _step(active_tracer()).end()
    stop_tracing()
    assert sorted(span.service for span in running.spans()) == ["child", "parent"]


def test_the_end_of_a_process_waits_no_longer_than_its_bound(running: Collector) -> None:
    running.hangs.set()
    start_tracing(_config(running.url), service="ragline-api")
    _step(active_tracer()).end()
    started = time.monotonic()
    stop_tracing()
    assert time.monotonic() - started < 4
    assert active_tracer() is None


def test_the_ratio_counts_for_traces_that_begin_without_a_span(running: Collector) -> None:
    start_tracing(_config(running.url, trace_sample_ratio=0), service="ragline-api")
    assert new_trace().traceparent.endswith("-00")
    stop_tracing()
    assert new_trace().traceparent.endswith("-01")


def test_without_an_address_no_exporter_is_imported() -> None:
    """By the API; the clients of Redis and Chroma import parts of the SDK, where there is one."""
    code = (
        "import sys, ragline.api.main\n"
        "from ragline.common.config import ApiConfig\n"
        "from ragline.common.spans import active_tracer\n"
        "from ragline.common.tracing import start_tracing\n"
        "start_tracing(ApiConfig(), service='x')\n"
        "exporters = [name for name in sys.modules if name.startswith('opentelemetry.exporter')]\n"
        "sys.exit(active_tracer() is not None or bool(exporters))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OTEL_EXPORTER_OTLP_ENDPOINT": ""}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0


def test_texts_are_cut_to_what_collectors_take() -> None:
    exporter = InMemorySpanExporter()
    step = _step(Tracer(ratio=1, content=True, deliver=lambda _: None))
    step.attributes["gen_ai.input.messages"] = "x" * 10**6
    step.end()
    assert sender(exporter, service="ragline-api", instance="1")([step])
    (span,) = exporter.get_finished_spans()
    assert span.attributes is not None
    assert len(str(span.attributes["gen_ai.input.messages"])) == 32_768
