"""What the tests of the stores share."""

from collections.abc import Iterator

import pytest
import redis

from tests.support.ledger import Ledger


@pytest.fixture
def ledger(valkey_url: str, redis_client: "redis.Redis") -> Iterator[Ledger]:
    """The ledger on an empty server."""
    with Ledger(valkey_url) as ledger:
        yield ledger
