"""The contract of the metrics: after a bit of everything on real parts each is there, moved, and is the exact truth."""

import re
import time
from collections.abc import Iterator

import pytest
import redis

from ragline.common.constants import BROKER_TIMEOUT_SECONDS
from ragline.common.metric_types import Kind, Metric, Source
from ragline.common.metrics import (
    ADMISSION_REFUSALS,
    CACHED_ANSWERS,
    CHUNKS,
    COST,
    DEPENDENCY_CALLS,
    DOCUMENTS,
    EVENT_STREAMS_OPEN,
    HTTP_REQUESTS,
    JOB_DURATION,
    JOB_FAILURES,
    JOBS_ACCEPTED,
    JOBS_ENDED,
    LEDGER_UP,
    METRICS,
    PAGES,
    QUEUE_HELD,
    QUEUE_IN_FLIGHT,
    QUEUE_OLDEST_AGE,
    QUEUE_WAIT,
    QUEUE_WAITING,
    RATE_LIMIT_REFUSALS,
    REDIS_MEMORY_LIMIT,
    REDISPATCHES,
    STEP_DURATION,
    STEPS,
    TOKENS,
)
from tests.support.expressions import EXPRESSIONS, OTHERS, RECORDS
from tests.support.openai_stub import OpenAIStub
from tests.support.promql import Use, uses
from tests.support.scraping import Scrape, scrape
from tests.support.stack import Stack, running_stack
from tests.support.waiting import wait_until
from tests.support.workload import CHAT_MODEL, EMBEDDING_MODEL, Expected, mixed_workload, workload_settings

pytestmark = pytest.mark.timeout(400)
"""Whichever test comes first waits for the whole workload."""

STATES = {
    EVENT_STREAMS_OPEN,
    QUEUE_HELD,
    QUEUE_IN_FLIGHT,
    QUEUE_OLDEST_AGE,
    QUEUE_WAITING,
    REDIS_MEMORY_LIMIT,
}
"""Those that may be 0 when all is done; each is held against the truth in tests/integration/stores/test_metrics.py."""

USED = sorted(
    {use for _, expr in EXPRESSIONS for use in uses(expr) if use.name not in {*OTHERS, *RECORDS}},
    key=lambda use: (use.name, sorted(use.labels), use.matchers),
)
"""Every use of a metric of ours in a panel or a rule, in the same order in every process."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, stub_server: OpenAIStub) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("metrics"), workload_settings(stub_server)) as running:
        yield running


@pytest.fixture(scope="module")
def expected(stack: Stack, stub_server: OpenAIStub) -> Expected:
    """What the workload must have left behind."""
    stub_server.reset()
    return mixed_workload(stack, stub_server)


@pytest.fixture(scope="module")
def after(stack: Stack, expected: Expected) -> Scrape:
    """What the service says once all that was measured has been added."""

    def told() -> Scrape:
        return scrape(stack.client)

    wait_until(lambda: told().total(JOBS_ENDED) >= expected.ended.total(), timeout_seconds=60)
    wait_until(lambda: told().total(RATE_LIMIT_REFUSALS) >= expected.refused, timeout_seconds=30)
    return told()


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_there_and_moved(after: Scrape, metric: Metric) -> None:
    assert after.has(metric)
    assert metric in STATES or after.total(metric) > 0


@pytest.mark.parametrize("use", USED, ids=lambda use: f"{use.name}-{'-'.join(sorted(use.labels))}")
def test_what_panels_and_rules_use_is_there_with_its_labels(after: Scrape, use: Use) -> None:
    found = [dict(labels) for name, labels in after.samples if name == use.name]
    assert found
    assert all(use.labels <= labels.keys() for labels in found)
    bucket = dict(use.matchers).get("le", ".*")
    assert any(re.fullmatch(bucket, labels.get("le", "")) for labels in found)


def test_jobs_are_counted_exactly(after: Scrape, expected: Expected) -> None:
    assert after.by(JOBS_ACCEPTED) == expected.accepted
    assert after.by(JOBS_ENDED) == expected.ended
    assert after.by(JOB_FAILURES) == expected.failures
    succeeded = sum(number for (_, state), number in expected.ended.items() if state == "succeeded")
    assert after.total(JOB_DURATION) == succeeded
    assert after.total(CACHED_ANSWERS) == expected.cached


def test_steps_are_counted_exactly_whoever_died(after: Scrape, expected: Expected) -> None:
    assert after.by(STEPS) == expected.steps
    assert after.by(REDISPATCHES) == expected.redispatches
    assert after.total(QUEUE_WAIT) == after.total(STEP_DURATION) == expected.steps.total()


def test_documents_are_counted_exactly(after: Scrape, expected: Expected) -> None:
    assert after.by(DOCUMENTS) == expected.documents


def test_refusals_are_counted(after: Scrape, expected: Expected) -> None:
    assert after.by(RATE_LIMIT_REFUSALS) == {("rag",): expected.refused}
    assert after.by(ADMISSION_REFUSALS)["budget_exhausted",] >= 1
    assert after.total(HTTP_REQUESTS, status="429", route="/v1/collections/{name}/queries") >= expected.refused


def test_work_is_measured(after: Scrape, expected: Expected) -> None:
    # Those of the runs that were lost before they said how far they came are among them, or not.
    assert after.total(PAGES) >= expected.pages
    assert after.by(CHUNKS) == {("embedded",): 7, ("kept",): 2}
    tokens = after.by(TOKENS)
    assert (tokens[CHAT_MODEL, "input"], tokens[CHAT_MODEL, "output"]) == (10, 4)
    cost = after.by(COST)
    assert cost[CHAT_MODEL,] == pytest.approx((10 * 0.15 + 4 * 0.6) / 1e6)
    assert cost[EMBEDDING_MODEL,] == pytest.approx(tokens[EMBEDDING_MODEL, "embedding"] * 0.02 / 1e6)
    calls = after.by(DEPENDENCY_CALLS, "dependency", "outcome")
    assert {("chroma", "ok"), ("embeddings", "ok"), ("object_store", "ok"), ("redis", "ok")} <= calls.keys()
    assert (calls["chat", "ok"], calls["chat", "transient"]) == (1, 1)


def test_probes_and_prometheus_itself_are_not_counted(after: Scrape) -> None:
    routes = {route for (route,) in after.by(HTTP_REQUESTS, "route")}
    assert routes.isdisjoint({"/healthz", "/readyz", "/metrics"})


def test_only_what_is_declared_is_counted(stack: Stack, after: Scrape) -> None:
    keys = {metric.key for metric in METRICS}
    with redis.Redis.from_url(stack.redis_url, decode_responses=True) as client:
        assert {field.split("|")[0] for field in client.hkeys("ragline:metrics")} <= keys
    counted = {metric.key for metric in METRICS if metric.source in {Source.LEDGER, Source.PROCESS}}
    assert all(metric.kind is not Kind.GAUGE or metric is DOCUMENTS for metric in METRICS if metric.key in counted)


def test_scrape_needs_no_key_and_leaves_no_line(stack: Stack, after: Scrape) -> None:
    assert '"/metrics"' not in (stack.folder / "api.log").read_text(encoding="utf-8")


def test_openmetrics_is_spoken(stack: Stack, after: Scrape) -> None:
    reply = stack.client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    assert reply.text.endswith("# EOF\n")


def test_counts_are_there_after_a_restart_of_redis(stack: Stack, after: Scrape) -> None:
    stack.valkey.kill()
    started = time.monotonic()
    away = scrape(stack.client)
    assert time.monotonic() - started < BROKER_TIMEOUT_SECONDS
    assert {name for name, _ in away.samples} == {LEDGER_UP.name, EVENT_STREAMS_OPEN.name}
    assert away.total(LEDGER_UP) == 0
    stack.valkey.restart()
    wait_until(lambda: scrape(stack.client).total(LEDGER_UP) == 1, timeout_seconds=20)
    again = scrape(stack.client)
    assert again.by(STEPS) == after.by(STEPS)
    assert again.by(DOCUMENTS) == after.by(DOCUMENTS)


def test_frozen_redis_costs_prometheus_two_seconds(stack: Stack, after: Scrape) -> None:
    stack.valkey.freeze()
    try:
        started = time.monotonic()
        assert scrape(stack.client).total(LEDGER_UP) == 0
        assert time.monotonic() - started < BROKER_TIMEOUT_SECONDS + 0.3
    finally:
        stack.valkey.thaw()
    wait_until(lambda: scrape(stack.client).total(LEDGER_UP) == 1, timeout_seconds=20)
