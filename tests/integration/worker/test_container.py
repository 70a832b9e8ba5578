"""A worker as a container runs it: Redis away or refusing it at the start, probe files, an end in time."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery

from ragline.common.queues import Queue
from ragline.stores.ledger.keys import unacked_key
from tests.support.servers import Process, python, valkey_server
from tests.support.waiting import wait_until

PASSWORD = "pa:ss@w/o#rd"

HANGS = """
import sys, time
from datetime import timedelta
from celery import shared_task
from ragline.common import config
from ragline.worker.main import main
config.STEP_BUDGET = timedelta(0)  # so that the test need not wait for it
@shared_task(name="hang")
def hang():
    print("it hangs", flush=True)
    time.sleep(60)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[tuple[str, Process]]:
    with valkey_server(tmp_path / "valkey") as server:
        yield server


def _environment(url: str, folder: Path) -> dict[str, str]:
    return {
        "REDIS_URL": url,
        "OBJECT_STORE_URL": f"file://{folder}/objects",
        "CACHE_DIR": str(folder / "cache"),
        "PROBE_DIR": str(folder / "probes"),
        "LOG_FORMAT": "json",
    }


def _waits_then_works(worker: Process, probes: Path, reason: str) -> None:
    worker.wait_ready(lambda: worker.log.read_text().count(reason) >= 2)
    assert {path.name for path in probes.iterdir()} == {"alive"}
    assert "worker ready" not in worker.log.read_text()


@pytest.mark.parametrize("queue", [Queue.DEFAULT, Queue.DOCUMENT])
@pytest.mark.parametrize(
    ("given", "reason"), [(PASSWORD, "invalid username-password"), ("", "Authentication required")]
)
def test_a_refused_worker_lives_says_why_and_works_when_let_in(
    valkey: tuple[str, Process], tmp_path: Path, queue: Queue, given: str, reason: str
) -> None:
    url, _ = valkey
    with redis.Redis.from_url(url) as client:
        client.config_set("requirepass", "another")
        environment = {**_environment(url, tmp_path), "REDIS_PASSWORD": given}
        worker = Process(python("-m", "ragline.worker.main", queue), log=tmp_path / "worker.log", env=environment)
        try:
            _waits_then_works(worker, tmp_path / "probes", reason)
            client.config_set("requirepass", given)
            worker.wait_ready((tmp_path / "probes" / "ready").exists)
        finally:
            status = worker.stop()
    log = worker.log.read_text()
    assert (status, "Traceback" in log, PASSWORD in log) == (0, False, False)
    assert not (tmp_path / "probes" / "ready").exists()


def test_a_worker_that_starts_before_redis_waits_for_it(valkey: tuple[str, Process], tmp_path: Path) -> None:
    url, server = valkey
    server.kill()
    command = python("-m", "ragline.worker.main", Queue.DEFAULT)
    worker = Process(command, log=tmp_path / "worker.log", env=_environment(url, tmp_path))
    try:
        _waits_then_works(worker, tmp_path / "probes", "Connection refused")
        server.restart()
        worker.wait_ready((tmp_path / "probes" / "ready").exists)
    finally:
        worker.stop()
    assert "Traceback" not in worker.log.read_text()


@pytest.mark.parametrize("queue", [Queue.DEFAULT, Queue.DOCUMENT])
def test_what_does_not_hand_back_in_time_is_put_back(valkey: tuple[str, Process], tmp_path: Path, queue: Queue) -> None:
    url, _ = valkey
    environment = {**_environment(url, tmp_path), "STOP_TIMEOUT_SECONDS": "2"}
    worker = Process(python("-c", HANGS, queue), log=tmp_path / "worker.log", env=environment)
    try:
        with Celery(broker=url) as app, redis.Redis.from_url(url) as client:
            for _ in range(2):
                app.send_task("hang", queue=queue)
            worker.wait_ready(lambda: worker.log.read_text().count("it hangs") == 2)
            assert (client.llen(queue), client.hlen(unacked_key(queue))) == (0, 2)
            for _ in range(2):
                worker.popen.terminate()
            wait_until(lambda: client.llen(queue) == 2, timeout_seconds=10)
            assert client.hlen(unacked_key(queue)) == 0
        assert worker.log.read_text().count("did not hand back in time") == 1
    finally:
        worker.kill()
