"""Real servers, one of each per test session; tests stay apart by database flush and by names."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.openai_stub import stub, stub_server
from tests.support.servers import chroma_server, valkey_server
from tests.support.stack import Stack, running_stack

__all__ = [
    "chroma_url",
    "objects_url",
    "pytest_collection_modifyitems",
    "redis_client",
    "stack",
    "stub",
    "stub_server",
    "valkey_url",
]


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis: the one RAGLINE_TEST_REDIS_URL names, or an embedded Valkey."""
    if given := os.environ.get("RAGLINE_TEST_REDIS_URL"):
        yield given
        return
    with valkey_server(tmp_path_factory.mktemp("valkey")) as (url, _):
        yield url


@pytest.fixture
def redis_client(valkey_url: str) -> Iterator["redis.Redis"]:
    """A client of the real Redis, emptied first."""
    with redis.Redis.from_url(valkey_url, decode_responses=True) as client:
        client.flushdb()
        yield client


@pytest.fixture(scope="session")
def chroma_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Chroma: the one RAGLINE_TEST_CHROMA_URL names, or the Rust server of the wheel."""
    if given := os.environ.get("RAGLINE_TEST_CHROMA_URL"):
        yield given
        return
    with chroma_server(tmp_path_factory.mktemp("chroma")) as (url, _):
        yield url


@pytest.fixture
def objects_url(tmp_path: Path) -> str:
    """An object store of its own."""
    return f"file://{tmp_path}/objects"


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole service, with limits small enough to run into."""
    limits = {
        "MAX_UPLOAD_BYTES": str(4 * 2**20),
        "MAX_PAGES": "60",
        "MAX_TEXT_BYTES": "150000",
        "PARSER_CPU_SECONDS": "5",
    }
    with running_stack(tmp_path_factory.mktemp("stack"), limits) as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything below this folder is an integration test."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.integration)
