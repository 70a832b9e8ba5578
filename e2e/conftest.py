"""The cluster, the release on it, and what happens when a row fails."""

import os
import re
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from e2e.support import cluster as clusters
from e2e.support.api import Api, forwarded
from e2e.support.diagnosis import dump
from e2e.support.figures import Figure, Figures, write_results
from e2e.support.kubectl import Kubectl
from e2e.support.release import Release, namespace

_HERE = Path(__file__).parent
_ROW_SECONDS = 600
_FIGURES = pytest.StashKey[list[Figure]]()
_NAMESPACES = pytest.StashKey[dict[str, Kubectl]]()
_CLUSTER = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = []
    config.stash[_NAMESPACES] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_row)
    for item in items:
        item.add_marker(pytest.mark.e2e)
        item.add_marker(pytest.mark.timeout(_ROW_SECONDS))


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[str]:
    """Context of the cluster."""
    with clusters.cluster() as context:
        pytestconfig.stash[_CLUSTER] = clusters.version(context)
        yield context


@pytest.fixture(scope="session")
def release(pytestconfig: pytest.Config, cluster: str) -> Iterator[Release]:
    """The release that most rows share; each has its own collections."""
    with namespace(cluster, "ragline-e2e") as kubectl:
        pytestconfig.stash[_NAMESPACES][kubectl.namespace] = kubectl
        release = Release(kubectl)
        release.load_images()
        release.helm.install()
        release.wait_ready()
        yield release


@pytest.fixture(scope="session")
def traced(pytestconfig: pytest.Config, cluster: str) -> Iterator[Release]:
    """A release with a Jaeger."""
    with namespace(cluster, "ragline-e2e-traced") as kubectl:
        pytestconfig.stash[_NAMESPACES][kubectl.namespace] = kubectl
        release = Release(kubectl, "jaeger.enabled=true")
        release.load_images()
        release.helm.install()
        release.wait_ready()
        yield release
    del pytestconfig.stash[_NAMESPACES][kubectl.namespace]


@pytest.fixture
def own_namespace(pytestconfig: pytest.Config, cluster: str, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """A namespace of the row's own."""
    with namespace(cluster, f"ragline-e2e-{_row(request.node).split()[0]}") as kubectl:
        pytestconfig.stash[_NAMESPACES][kubectl.namespace] = kubectl
        yield kubectl
    del pytestconfig.stash[_NAMESPACES][kubectl.namespace]


@pytest.fixture(scope="session")
def api(release: Release) -> Iterator[Api]:
    """The shared release's API."""
    with forwarded(release.kubectl, "service/ragline-api", 80) as url, Api(url) as api:
        release.kubectl.wait(lambda: not api.missing_parts(), timeout_seconds=60)
        yield api


@pytest.fixture
def collection(request: pytest.FixtureRequest) -> str:
    """Name of a collection of the row's own, new in each run."""
    return f"row-{_row(request.node).split()[0]}-{os.urandom(4).hex()}"


@pytest.fixture
def figure(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Iterator[Figures]:
    """Takes the row's figures."""
    figures = Figures(_row(request.node))
    yield figures
    pytestconfig.stash[_FIGURES] += figures.taken


@pytest.fixture(autouse=True)
def _whole(request: pytest.FixtureRequest) -> None:
    """Whatever the row before did to the shared release is over."""
    if "api" in request.fixturenames:
        release: Release = request.getfixturevalue("release")
        api: Api = request.getfixturevalue("api")
        release.kubectl.wait(lambda: release.is_ready() and not api.missing_parts(), timeout_seconds=120)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.config.stash[_FIGURES].append(Figure(row=_row(item), what=f"{report.when} of the row", figure="failed"))
        for name, kubectl in item.config.stash[_NAMESPACES].items():
            folder = _HERE / "reports" / re.sub(r"\W+", "-", item.name).strip("-") / name
            dump(kubectl, kubectl.items("pods"), folder)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash[_FIGURES]
    if figures:
        terminalreporter.section("figures")
    for figure in figures:
        terminalreporter.line(figure.line())
    if figures and os.environ.get("E2E_RESULTS"):
        write_results(_HERE / "RESULTS.md", figures, cluster=config.stash[_CLUSTER])


def _row(item: pytest.Item) -> str:
    """Letter and case of a row: `test_b_wakes[rag]` is `b rag`."""
    found = re.fullmatch(r"test_([a-z]+\d?)_\w+(?:\[(.*)\])?", item.name)
    assert found, f"{item.name} names no row"
    return " ".join(part for part in found.groups() if part)
