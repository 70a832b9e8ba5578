"""The real local model, built once for all tests and test processes of a run, and a model server that obeys."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragline.pipeline.embedders.local import LocalEmbedder
from ragline.pipeline.embedders.minilm import ensure_graph
from tests.support.openai_stub import OpenAIStub, openai_stub


@pytest.fixture(scope="session")
def minilm_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.getbasetemp()
    # Each xdist worker has a folder of its own below one that they share.
    return ensure_graph((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "minilm")


@pytest.fixture(scope="session")
def minilm(minilm_dir: Path) -> LocalEmbedder:
    return LocalEmbedder(minilm_dir, space="local/all-MiniLM-L6-v2", threads=2)


@pytest.fixture(scope="module")
def stub_server() -> Iterator[OpenAIStub]:
    with openai_stub() as running:
        yield running


@pytest.fixture
def stub(stub_server: OpenAIStub) -> OpenAIStub:
    stub_server.reset()
    return stub_server
