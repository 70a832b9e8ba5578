"""The memory store passes the contract of vector stores."""

import pytest

from ragline.stores.memory import MemoryVectorStore
from ragline.stores.protocols import VectorStore
from tests.support.vector_store_contract import HANDBOOK, VectorStoreContract, direction, make_entry


class TestMemoryVectorStore(VectorStoreContract):
    @pytest.fixture
    def store(self) -> VectorStore:
        return MemoryVectorStore()

    @pytest.fixture
    def physical(self) -> str:
        return "ragline-memory"


def test_two_stores_share_nothing() -> None:
    one, other = MemoryVectorStore(), MemoryVectorStore()
    one.add("ragline-memory", [make_entry("a")])
    assert other.query("ragline-memory", direction(0), scope=HANDBOOK, limit=3) == []
