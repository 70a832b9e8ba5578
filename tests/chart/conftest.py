"""Everything here renders the chart; nothing needs a cluster."""

from collections.abc import Sequence

import pytest

from tests.chart.variants import variant
from tests.support.chart import Object


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew; review the diff")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/chart/" in item.path.as_posix():
            item.add_marker("chart")


@pytest.fixture
def objects(request: pytest.FixtureRequest) -> Sequence[Object]:
    """The chart's objects: the default ones, or those of the variant that a test is parametrized with."""
    return variant(getattr(request, "param", "default"))
