"""The whole service, a Prometheus that watches it thirty times faster than in operation, and people who use it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from charts.monitoring.build import rules_text
from charts.monitoring.promql import Clock
from charts.monitoring.rules import INTERVAL_SECONDS
from tests.alerts.traffic import Traffic
from tests.support import pdfs
from tests.support.openai_stub import OpenAIStub, stub_server
from tests.support.prometheus import Exporter, Prometheus, Target, exporter, prometheus_server
from tests.support.stack import Stack, running_stack

__all__ = ["exporter_of_a_cluster", "prometheus", "pytest_collection_modifyitems", "stack", "stub_server", "traffic"]

SPEED = 30
"""An hour is two minutes. Faster would be too fast for what processes measure: they add it up every five seconds."""

BACKLOG = 12


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, stub_server: OpenAIStub) -> Iterator[Stack]:
    """A service whose models are the stub, with a collection that questions can be asked of."""
    settings = {
        "ANSWER_CACHE_SECONDS": "0",
        "EMBEDDER": "openai",
        "LLM_MODEL": "stub-chat",
        "MAX_BACKLOG_PER_TENANT": str(BACKLOG),
        "OPENAI_API_KEY": "a-key-of-the-stub",
        "OPENAI_BASE_URL": stub_server.url,
        "PDF_ENGINE": "pypdf",
    }
    with running_stack(tmp_path_factory.mktemp("stack"), settings) as running:
        job = running.ingest("animals", "animals.pdf", pdfs.text_pdf(["Otters sleep in rafts."]))
        assert job["status"] == "succeeded", job
        yield running


@pytest.fixture(scope="module")
def exporter_of_a_cluster() -> Iterator[Exporter]:
    """Says what the kubelet and KEDA say on a cluster."""
    with exporter() as running:
        yield running


@pytest.fixture(scope="module")
def prometheus(
    stack: Stack, exporter_of_a_cluster: Exporter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A Prometheus with the chart's rules."""
    here = {"namespace": "documents", "pod": "api-0"}
    targets = [
        Target(address=stack.client.base_url.netloc.decode(), labels=here),
        Target(address=exporter_of_a_cluster.address, path="/kubelet", own_labels_win=True),
        # As KEDA's own chart has it scraped: the label that KEDA sets becomes `exported_namespace`.
        Target(address=exporter_of_a_cluster.address, path="/keda", labels={"namespace": "keda"}),
    ]
    folder = tmp_path_factory.mktemp("prometheus")
    rules = rules_text(Clock(speed=SPEED))
    with prometheus_server(folder, targets, rules=rules, interval_seconds=INTERVAL_SECONDS / SPEED) as running:
        yield running


@pytest.fixture(scope="module")
def traffic(stack: Stack) -> Iterator[Traffic]:
    """People who ask, all the time."""
    with Traffic(str(stack.client.base_url)).running() as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder takes minutes, for it waits for alerts."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.alerts)
            item.add_marker(pytest.mark.timeout(300))
