"""Redis away, frozen or unable to write: a `TransientError` in bounded time, and afterwards everything goes on."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from redis.exceptions import (
    BusyLoadingError,
    DataError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from ragline.api.context import ApiContext
from ragline.common.config import ApiConfig
from ragline.common.constants import BROKER_TIMEOUT_SECONDS
from ragline.common.errors import ProtocolError, TransientError
from ragline.common.messages import StepMessage
from ragline.common.models import JobState
from ragline.common.queues import Queue, Step
from ragline.common.trace_context import new_trace
from ragline.stores.ledger.keys import held_key
from ragline.stores.ledger.working import WorkLedger
from ragline.stores.redis_errors import redis_errors
from tests.support.ledger import Ledger, new_document
from tests.support.servers import Process, free_port, valkey_server
from tests.support.waiting import wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A Redis of one test's own."""

    url: str
    process: Process
    folder: Path

    def freeze(self) -> None:
        os.kill(self.process.popen.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.process.popen.pid, signal.SIGCONT)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with valkey_server(tmp_path / "valkey") as (url, process):
        server = Server(url=url, process=process, folder=tmp_path / "valkey")
        yield server
        if process.popen.poll() is None:
            server.thaw()


@pytest.fixture
def own_ledger(server: Server) -> Iterator[Ledger]:
    with Ledger(server.url) as ledger:
        yield ledger


async def _refused_after(context: ApiContext, breaks: Callable[[], None]) -> float:
    """Seconds until the API refuses an upload after something broke."""
    breaks()
    started = time.monotonic()
    with pytest.raises(TransientError):
        await context.ledger.accept_document(new_document(), new_trace())
    return time.monotonic() - started


def _api_config(url: str, folder: Path) -> ApiConfig:
    return ApiConfig.model_validate({"redis_url": url, "object_store_url": f"file://{folder}/objects"})


@contextmanager
def _refused(ledger: Ledger) -> Iterator[None]:
    """While the body's condition holds both sides are refused what they want to write, and can read."""
    submission = ledger.upload()
    claim = ledger.start(submission.job_id)
    yield
    for call in (
        lambda: ledger.upload(content="other"),
        lambda: ledger.working.record(claim, progress=(1, 2, "pages")),
        lambda: ledger.working.advance(claim, Step.SPLIT),
        lambda: ledger.run(ledger.accepting.sweep()),
    ):
        with pytest.raises(TransientError):
            call()
    assert ledger.job(submission.job_id).state is JobState.RUNNING
    assert ledger.job(submission.job_id).step is Step.CONVERT


def test_api_is_refused_by_a_server_that_is_not_there(tmp_path: Path) -> None:
    async def scenario() -> float:
        context = ApiContext(_api_config(f"redis://127.0.0.1:{free_port()}/0", tmp_path))
        try:
            return await _refused_after(context, lambda: None)
        finally:
            await context.close()

    assert asyncio.run(scenario()) < BROKER_TIMEOUT_SECONDS


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_api_is_refused_in_time_and_works_again_afterwards(server: Server, tmp_path: Path, fault: str) -> None:
    breaks, mends = {
        "killed": (server.process.kill, server.process.restart),
        "frozen": (server.freeze, server.thaw),
    }[fault]

    async def scenario() -> float:
        context = ApiContext(_api_config(server.url, tmp_path))
        try:
            await context.ledger.ping()
            seconds = await _refused_after(context, breaks)
            mends()
            wait_until(lambda: _answers(server.url), timeout_seconds=10)
            submission = await context.ledger.accept_document(new_document(), new_trace())
            assert (await context.ledger.job("default", submission.job_id)).state is JobState.QUEUED
        finally:
            await context.close()
        return seconds

    assert asyncio.run(scenario()) < BROKER_TIMEOUT_SECONDS


def test_api_is_refused_in_time_by_a_server_that_froze_before_it_connected(server: Server, tmp_path: Path) -> None:
    async def scenario() -> float:
        context = ApiContext(_api_config(server.url, tmp_path))
        try:
            return await _refused_after(context, server.freeze)
        finally:
            await context.close()

    assert asyncio.run(scenario()) < BROKER_TIMEOUT_SECONDS


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_worker_is_told_in_bounded_time(server: Server, fault: str) -> None:
    with redis.Redis.from_url(server.url, decode_responses=True, socket_timeout=0.5, retry=None) as client:
        ledger = WorkLedger(client)
        assert ledger.claim(StepMessage(job_id="job_unknown", step=Step.CONVERT), "worker-1") is None
        {"killed": server.process.kill, "frozen": server.freeze}[fault]()
        for call in (
            lambda: ledger.claim(StepMessage(job_id="job_unknown", step=Step.CONVERT), "worker-1"),
            lambda: ledger.documents(["doc_unknown"]),
            lambda: ledger.renew([]),
        ):
            started = time.monotonic()
            with pytest.raises(TransientError):
                call()
            assert time.monotonic() - started < 5


def test_killed_server_has_every_acknowledged_write(server: Server) -> None:
    with Ledger(server.url) as ledger:
        submissions = [ledger.upload(name=f"{number}.pdf") for number in range(20)]
        claim = ledger.start(submissions[0].job_id)
        server.process.kill()
    server.process.restart()
    wait_until(lambda: _answers(server.url), timeout_seconds=10)
    with Ledger(server.url) as ledger:
        assert {ledger.job(submission.job_id).step_state for submission in submissions[1:]} == {"queued"}
        assert ledger.client.llen("document") + ledger.client.zcard(held_key(Queue.DOCUMENT)) == 19
        ledger.working.advance(claim, Step.SPLIT)


def test_scripts_are_loaded_again_after_a_restart(server: Server, own_ledger: Ledger) -> None:
    own_ledger.upload()
    own_ledger.client.script_flush()
    own_ledger.upload(name="other.pdf")
    assert own_ledger.collection().documents == 2


def test_full_memory(own_ledger: Ledger) -> None:
    with _refused(own_ledger):
        own_ledger.client.config_set("maxmemory", 1)
    own_ledger.client.config_set("maxmemory", 0)
    assert own_ledger.upload(content="other").job_id


def test_full_disk(server: Server, own_ledger: Ledger) -> None:
    """A server whose snapshot could not be written refuses further writes with MISCONF, as with a full disk."""
    with _refused(own_ledger):
        own_ledger.client.config_set("save", "3600 1")
        shutil.rmtree(server.folder)
        own_ledger.client.bgsave()
        wait_until(lambda: own_ledger.client.info()["rdb_last_bgsave_status"] == "err", timeout_seconds=10)
    own_ledger.client.config_set("save", "")
    assert own_ledger.upload(content="other").job_id


def test_too_few_replicas(own_ledger: Ledger) -> None:
    with _refused(own_ledger):
        own_ledger.client.config_set("min-replicas-to-write", 1)


def test_replica(own_ledger: Ledger) -> None:
    """After a failover the old address may lead to a server that takes no writes."""
    with _refused(own_ledger):
        own_ledger.client.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))
        own_ledger.client.config_set("replica-serve-stale-data", "yes")


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError("refused"),
        redis.TimeoutError("slow"),
        BusyLoadingError("loading the dataset in memory"),
        NoScriptError("No matching script"),
        OutOfMemoryError("command not allowed when used memory > 'maxmemory'"),
        ReadOnlyError("You can't write against a read only replica."),
        ResponseError("MISCONF Errors writing to the AOF file: No space left on device"),
        ResponseError("BUSY Redis is busy running a script."),
        ResponseError("Error running script: @user_script:10: -OOM command not allowed"),
        OSError("reset"),
    ],
)
def test_not_now_is_transient(error: Exception) -> None:
    with pytest.raises(TransientError) as told, redis_errors("accept"):
        raise error
    assert told.value.detail == f"redis accept: {type(error).__name__}"
    assert told.value.reason == str(error)


@pytest.mark.parametrize(
    "error",
    [
        ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
        ResponseError("BUSYGROUP Consumer Group name already exists"),
        DataError("Invalid input"),
        RedisError("something"),
    ],
)
def test_nonsense_is_a_protocol_error(error: Exception) -> None:
    with pytest.raises(ProtocolError) as told, redis_errors("accept"):
        raise error
    assert told.value.detail == f"redis accept: {type(error).__name__}"
    assert told.value.reason == str(error)


def _answers(url: str) -> bool:
    with redis.Redis.from_url(url, socket_timeout=1) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
