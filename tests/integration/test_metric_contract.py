"""What panels and rules use is there on a running service, with its labels, and moves when the service is used."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ragline.common.metric_types import Kind
from ragline.common.metrics import METRICS
from ragline.common.queues import Queue
from tests.support import pdfs
from tests.support.expressions import EXPRESSIONS, OTHERS, RECORDS
from tests.support.openai_stub import OpenAIStub, Reply
from tests.support.promql import Use, uses
from tests.support.stack import Stack, running_stack
from tests.support.waiting import wait_until

BACKLOG = 4
QUESTIONS_PER_MINUTE = 12

Series = dict[str, list[tuple[dict[str, str], float]]]
"""Samples by name: labels and value."""

OURS = sorted({use for _, expr in EXPRESSIONS for use in uses(expr) if use.name not in {*OTHERS, *RECORDS}}, key=repr)

# States that nothing of this workload leads to; tests/alerts does.
MAY_STAY_ZERO = {"ragline_queue_held", "ragline_queue_in_flight", "ragline_queue_oldest_age_seconds"} | {
    "ragline_event_streams_open",
    "ragline_queue_waiting",
    "ragline_redis_memory_limit_bytes",
}


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory, stub_server: OpenAIStub) -> Iterator[Series]:
    """What `/metrics` shows after a bit of everything."""
    settings = {
        "EMBEDDER": "openai",
        "LLM_MODEL": "stub-chat",
        "MAX_BACKLOG_PER_TENANT": str(BACKLOG),
        "MODEL_PRICES": '{"stub-chat": {"input": 1, "output": 2}}',
        "OPENAI_API_KEY": "a-key-of-the-stub",
        "OPENAI_BASE_URL": stub_server.url,
        "RATE_LIMIT_RAG_PER_MINUTE": str(QUESTIONS_PER_MINUTE),
    }
    with ExitStack() as exits:
        stack = exits.enter_context(running_stack(tmp_path_factory.mktemp("contract"), settings))
        stub_server.reset()
        _documents(stack, stub_server)
        _tasks_for_a_queue_that_sleeps(stack)
        _questions(stack)
        # Processes add up what they measured every few seconds.
        wait_until(lambda: not _unmoved(_scraped(stack)), timeout_seconds=20, interval_seconds=0.5)
        yield _scraped(stack)


def _documents(stack: Stack, stub: OpenAIStub) -> None:
    """One whose first try fails, a new version of it, and one that cannot be read."""
    first, second = "Otters sleep in rafts. " * 60, "Herons stand on one leg. " * 60
    stub.answer(Reply(status=503))
    assert stack.ingest("animals", "animals.pdf", pdfs.text_pdf([first]))["status"] == "succeeded"
    assert stack.ingest("animals", "animals.pdf", pdfs.text_pdf([first, second]))["status"] == "succeeded"
    assert stack.ingest("animals", "secret.pdf", pdfs.encrypted_pdf("secret"))["status"] == "failed"


def _tasks_for_a_queue_that_sleeps(stack: Stack) -> None:
    stack.workers[Queue.DEFAULT].stop()
    replies = [stack.client.post("/tasks/process", json={"data": "x"}) for _ in range(BACKLOG + 1)]
    assert replies[-1].status_code == 429
    stack.workers[Queue.DEFAULT].restart()


def _questions(stack: Stack) -> None:
    """The same twice, then more than may be asked in a minute."""
    first, again = (stack.ask("animals", "How do otters sleep?") for _ in range(2))
    assert first["answer"] == again["answer"]

    def refused() -> bool:
        reply = stack.client.post("/v1/collections/animals/queries", json={"question": "How do otters sleep?"})
        return reply.status_code == 429

    wait_until(refused, timeout_seconds=30)


def _scraped(stack: Stack) -> Series:
    found: Series = {}
    for family in text_string_to_metric_families(stack.client.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def _unmoved(series: Series) -> set[str]:
    names = {f"{metric.name}_count" if metric.kind is Kind.HISTOGRAM else metric.name for metric in METRICS}
    moved = {name for name, samples in series.items() if any(value for _, value in samples)}
    return names - moved - MAY_STAY_ZERO


def test_every_metric_moves_when_the_service_is_used(series: Series) -> None:
    assert _unmoved(series) == set()


def test_what_may_stay_zero_is_shown_all_the_same(series: Series) -> None:
    assert series.keys() >= MAY_STAY_ZERO


@pytest.mark.parametrize("use", OURS, ids=lambda use: f"{use.name}-{'-'.join(sorted(use.labels))}")
def test_metrics_and_labels_that_are_used_are_there(series: Series, use: Use) -> None:
    assert use.name in series
    assert all(use.labels <= labels.keys() for labels, _ in series[use.name])


def test_buckets_that_objectives_are_counted_by_are_there(series: Series) -> None:
    buckets = [(use.name, dict(use.matchers)) for use in OURS if "le" in dict(use.matchers)]
    assert buckets
    for name, matchers in buckets:
        assert any(_fits(matchers, labels) for labels, _ in series[name]), matchers


def _fits(matchers: dict[str, str], labels: dict[str, str]) -> bool:
    return all(re.fullmatch(value, labels.get(label, "")) for label, value in matchers.items())


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_who_comes_through_an_ingress_sees_no_metrics(stack: Stack, header: str) -> None:
    get: Callable[..., httpx2.Response] = stack.client.get
    assert get("/metrics").status_code == 200
    assert get("/metrics", headers={header: "192.0.2.1"}).status_code == 404
