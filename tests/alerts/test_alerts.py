"""Each alert is fired on purpose by a fault, and clears after the cure; docs/monitoring.md says which fault it was."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import redis

from charts.monitoring.alerts import every_alert
from ragline.common.queues import Queue
from tests.alerts.traffic import Traffic
from tests.support import pdfs
from tests.support.openai_stub import OpenAIStub, Reply
from tests.support.prometheus import Exporter, Prometheus
from tests.support.stack import Stack
from tests.support.waiting import wait_until

CRITICAL, WARNING = "critical", "warning"

Firing = set[tuple[str, str]]

FIRED: Firing = set()
"""What fired and cleared, over all tests of this module."""

GATED_DOCUMENTS = 4
SLOW_SECONDS = 1.4
_SLOW_PAGES = 3000

VOLUME = '{namespace="documents", persistentvolumeclaim="ragline-chroma"}'


def _fires(prometheus: Prometheus, wanted: Firing, *, timeout_seconds: float = 120) -> None:
    seen: Firing = set()

    def all_seen() -> bool:
        seen.update(prometheus.firing())
        return wanted <= seen

    try:
        wait_until(all_seen, timeout_seconds=timeout_seconds, interval_seconds=0.5)
    except AssertionError as error:
        raise AssertionError(f"did not fire: {wanted - seen}; fired: {seen}") from error
    for alert in prometheus.alerts("firing"):
        for text in alert["annotations"].values():
            assert text
            assert "<no value>" not in text
            assert "error calling" not in text


def _clears(prometheus: Prometheus, wanted: Firing, *, timeout_seconds: float = 120) -> None:
    try:
        wait_until(lambda: not prometheus.firing() & wanted, timeout_seconds=timeout_seconds, interval_seconds=0.5)
    except AssertionError as error:
        raise AssertionError(f"still fires: {prometheus.firing() & wanted}") from error
    FIRED.update(wanted)


def test_a_service_that_is_well_is_silent(prometheus: Prometheus, traffic: Traffic) -> None:
    wait_until(lambda: traffic.statuses[200] > 100, timeout_seconds=60)
    assert prometheus.firing() == set()
    assert {status for status in traffic.statuses if status >= 500} == set()


def test_a_model_that_refuses(prometheus: Prometheus, traffic: Traffic, stub_server: OpenAIStub) -> None:
    """Questions fail at the chat model, which takes our key for a wrong one; some documents at the embeddings."""

    def refused(body: dict[str, Any]) -> Reply:
        if "messages" in body:
            return Reply(status=401, body=b'{"error": {"message": "wrong key"}}')
        poisoned = any("poison" in text for text in body["input"])
        return Reply(status=400, body=b'{"error": {"message": "no"}}') if poisoned else Reply()

    wanted = {
        ("RaglineAnswersMissObjective", CRITICAL),
        ("RaglineAnswersMissObjective", WARNING),
        ("RaglineIngestMissesObjective", CRITICAL),
        ("RaglineIngestMissesObjective", WARNING),
        ("RaglineServerErrors", CRITICAL),
        ("RaglineServerErrors", WARNING),
        ("RaglineModelFailing", WARNING),
        ("RaglineWorkFailing", WARNING),
    }
    stub_server.usual = refused
    traffic.uploads.set()
    _fires(prometheus, wanted)
    traffic.uploads.clear()
    stub_server.usual = lambda _: Reply()
    _clears(prometheus, wanted, timeout_seconds=180)


def test_workers_die_and_none_comes_while_the_model_is_slow(
    prometheus: Prometheus, traffic: Traffic, stack: Stack, stub_server: OpenAIStub
) -> None:
    gate = Event()
    stub_server.usual = lambda body: _slow(body, gate)
    wanted = {
        ("RaglineDocumentsQuarantined", WARNING),
        ("RaglineLeasesLost", WARNING),
        ("RaglineModelSlow", WARNING),
        ("RaglineQueueAsleep", CRITICAL),
        ("RaglineQueueBehind", WARNING),
        ("RaglineWorkOrphaned", CRITICAL),
        ("RaglineWorkRefused", WARNING),
    }
    gated = [stack.upload("gated", f"{i}.pdf", pdfs.text_pdf([f"gated {i}"])) for i in range(GATED_DOCUMENTS)]
    wait_until(partial(_have_begun, stub_server, len(gated)), timeout_seconds=30)
    with _no_document_worker(stack):
        _kill_until_quarantined(stack, stub_server, [submission["job_id"] for submission in gated])
        refused = [_behind(stack).status_code for _ in range(12)]
        assert set(refused) == {429}
        _fires(prometheus, wanted)
    gate.set()
    stub_server.usual = lambda _: Reply()
    _clears(prometheus, wanted)


def _slow(body: dict[str, Any], gate: Event) -> Reply:
    if "messages" in body:
        return Reply(delay_seconds=SLOW_SECONDS)
    return Reply(gate=gate) if _is_gated(body) else Reply()


@contextmanager
def _no_document_worker(stack: Stack) -> Iterator[None]:
    """One dies in the middle of a document, as much work comes as may wait, and no other worker does."""
    long = stack.upload("behind", "long.pdf", pdfs.long_text_pdf(_SLOW_PAGES, 1))
    document = f"/v1/documents/{long['document_id']}"
    wait_until(lambda: stack.client.get(document).json()["state"] == "converting", timeout_seconds=20)
    stack.workers[Queue.DOCUMENT].kill()
    try:
        wait_until(lambda: _behind(stack).status_code == 429, timeout_seconds=30)
        yield
    finally:
        stack.client.delete(f"/v1/jobs/{long['job_id']}")
        stack.workers[Queue.DOCUMENT].restart()


def _behind(stack: Stack) -> httpx2.Response:
    name = str(uuid4())
    files = {"file": (f"{name}.pdf", pdfs.text_pdf([name]))}
    return stack.client.post("/v1/collections/behind/documents", files=files)


def _kill_until_quarantined(stack: Stack, stub: OpenAIStub, jobs: list[str]) -> None:
    """The worker dies three times over the same documents; each time their leases have to run out."""
    worker = stack.workers[Queue.VECTORSTORE]
    for times in (1, 2, 3):
        wait_until(partial(_have_begun, stub, times * len(jobs)), timeout_seconds=60)
        worker.kill()
        worker.restart()
    ended = [stack.finished_job(job) for job in jobs]
    assert {job["error"]["code"] for job in ended} == {"quarantined"}


def _have_begun(stub: OpenAIStub, times: int) -> bool:
    return _asked_for_gated(stub) >= times


def _asked_for_gated(stub: OpenAIStub) -> int:
    return sum(_is_gated(body) for body in list(stub.requests))


def _is_gated(body: dict[str, Any]) -> bool:
    return any("gated" in text for text in body.get("input", []))


def test_a_store_that_is_away(prometheus: Prometheus, traffic: Traffic, stack: Stack) -> None:
    wanted = {("RaglineStoreFailing", CRITICAL)}
    stack.chroma.kill()
    _fires(prometheus, wanted)
    stack.chroma.restart()
    _clears(prometheus, wanted)


def test_a_worker_that_stands_still_under_questions(prometheus: Prometheus, traffic: Traffic, stack: Stack) -> None:
    wanted = {("RaglineQueueBehind", CRITICAL)}
    stack.workers[Queue.RAG].freeze()
    _fires(prometheus, wanted)
    stack.workers[Queue.RAG].thaw()
    _clears(prometheus, wanted)


@pytest.fixture
def quiet(traffic: Traffic) -> Iterator[None]:
    """Nobody asks meanwhile: a Redis that is nearly full would refuse it."""
    traffic.asks.clear()
    yield
    traffic.asks.set()


@pytest.mark.usefixtures("quiet")
def test_redis_nearly_full_and_its_file_not_rewritten_and_what_a_cluster_says(
    prometheus: Prometheus, stack: Stack, exporter_of_a_cluster: Exporter
) -> None:
    """Volume and scaler are said by an exporter of ours, in the words of the kubelet and of KEDA."""
    wanted = {
        ("RaglineRedisMemoryHigh", CRITICAL),
        ("RaglineRedisMemoryHigh", WARNING),
        ("RaglineRedisPersistenceFailing", CRITICAL),
        ("RaglineScalerFailing", WARNING),
        ("RaglineVolumeFull", CRITICAL),
        ("RaglineVolumeFull", WARNING),
    }
    with redis.Redis.from_url(stack.redis_url, decode_responses=True) as client, ExitStack() as cures:
        _kill_a_rewrite(client, stack.valkey.popen.pid)
        used: int = client.info("memory")["used_memory"]
        client.config_set("maxmemory", int(used / 0.97))
        cures.callback(client.config_set, "maxmemory", 0)
        errors = 0.0

        def all_fire() -> bool:
            nonlocal errors
            errors += 1
            exporter_of_a_cluster.pages = _cluster(free=3, errors=errors)
            return wanted <= prometheus.firing()

        wait_until(all_fire, timeout_seconds=90, interval_seconds=0.5)
        _fires(prometheus, wanted)
        exporter_of_a_cluster.pages = _cluster(free=60, errors=errors)
        client.config_set("rdb-key-save-delay", 0)
        client.bgrewriteaof()
    _clears(prometheus, wanted)


def _cluster(*, free: float, errors: float) -> dict[str, dict[str, float]]:
    return {
        "/kubelet": {
            f"kubelet_volume_stats_available_bytes{VOLUME}": free,
            f"kubelet_volume_stats_capacity_bytes{VOLUME}": 100,
        },
        "/keda": {
            'keda_scaled_object_errors_total{namespace="documents", scaledObject="ragline-worker-document"}': errors
        },
    }


def _kill_a_rewrite(client: "redis.Redis", pid: int) -> None:
    """As when memory runs out: the child that writes the new file is killed."""
    # Microseconds a key, so that there is time to find the child.
    client.config_set("rdb-key-save-delay", 1_000_000)
    client.bgrewriteaof()  # type: ignore[no-untyped-call]
    children = Path(f"/proc/{pid}/task/{pid}/children")
    wait_until(lambda: bool(children.read_text(encoding="ascii").split()), timeout_seconds=10)
    for child in children.read_text(encoding="ascii").split():
        os.kill(int(child), signal.SIGKILL)
    wait_until(lambda: client.info("persistence")["aof_last_bgrewrite_status"] == "err", timeout_seconds=10)  # type: ignore[index]


@pytest.mark.usefixtures("quiet")
def test_redis_is_away(prometheus: Prometheus, stack: Stack) -> None:
    wanted = {("RaglineLedgerUnreadable", CRITICAL)}
    stack.valkey.kill()
    _fires(prometheus, wanted)
    stack.valkey.restart()
    _clears(prometheus, wanted)


@pytest.mark.usefixtures("quiet")
def test_the_api_is_away(prometheus: Prometheus, stack: Stack) -> None:
    wanted = {("RaglineMetricsAbsent", CRITICAL)}
    stack.api.kill()
    _fires(prometheus, wanted)
    stack.api.restart()
    _clears(prometheus, wanted)


def test_every_alert_was_fired_and_cleared() -> None:
    """The last one of this module: the order of its tests is kept."""
    assert {(alert.name, alert.severity) for alerts in every_alert().values() for alert in alerts} == FIRED
