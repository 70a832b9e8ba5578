"""What a worker's process asks of Redis."""

from pathlib import Path
from threading import Event, Timer

import pytest
import redis

from ragline.common.config import WorkerConfig
from ragline.common.errors import TransientError
from ragline.worker import context as module
from ragline.worker.context import ProcessContext
from tests.support.servers import valkey_server
from tests.support.waiting import wait_until


def test_what_redis_did_not_answer_in_time_is_not_asked_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does it yet: a step would be claimed for nobody, and a part of an answer streamed twice."""
    monkeypatch.setattr(module, "_REDIS_TIMEOUT_SECONDS", 0.5)
    with valkey_server(tmp_path / "valkey") as (url, process), redis.Redis.from_url(url) as client:
        config = WorkerConfig.model_validate({"redis_url": url, "object_store_url": f"file://{tmp_path}/objects"})
        context = ProcessContext(config, worker="rag@test", stopping=Event())
        context.ledger.spend("acme", 100)
        process.freeze()
        # While a second call would still be waited for.
        thawing = Timer(0.75, process.thaw)
        thawing.start()
        with pytest.raises(TransientError):
            context.ledger.spend("acme", 100)
        thawing.join()
        [key] = client.scan_iter("ragline:tokens:acme:*")
        wait_until(lambda: client.get(key) == b"200", timeout_seconds=10)
        context.close()
