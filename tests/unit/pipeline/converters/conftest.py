"""Documents on disk, and a check that no parser outlives a test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.parsers import children_of


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    before = children_of("self")
    yield
    assert children_of("self") == before


@pytest.fixture
def save(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "document.pdf"
        path.write_bytes(content)
        return path

    return write
