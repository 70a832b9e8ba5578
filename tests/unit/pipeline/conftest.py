"""The real local model, built once for all tests and test processes of a run, and a model server that obeys."""

import os
from pathlib import Path

import pytest

from ragline.pipeline.embedders.local import LocalEmbedder
from ragline.pipeline.embedders.minilm import ensure_graph
from tests.support.openai_stub import stub, stub_server

__all__ = ["minilm", "minilm_dir", "stub", "stub_server"]


@pytest.fixture(scope="session")
def minilm_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.getbasetemp()
    # Each xdist worker has a folder of its own below one that they share.
    return ensure_graph((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "minilm")


@pytest.fixture(scope="session")
def minilm(minilm_dir: Path) -> LocalEmbedder:
    return LocalEmbedder(minilm_dir, space="local/all-MiniLM-L6-v2", threads=2)
