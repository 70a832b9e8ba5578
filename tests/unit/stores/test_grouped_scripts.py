"""Calls that wait at the same time travel together, and are each other's business in nothing else."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from ragline.stores.grouped_scripts import GroupedScripts


class FakeRedis:
    """Answers `sha:arguments`, group by group, when `open` is set."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.known: set[str] = set()
        self.loaded: list[str] = []
        self.arrived = asyncio.Semaphore(0)
        self.open = asyncio.Event()
        self.open.set()
        self.failure: Exception | None = None

    def register_script(self, source: str) -> SimpleNamespace:
        self.known.add(f"sha of {source}")
        return SimpleNamespace(sha=f"sha of {source}")

    async def script_load(self, source: str) -> None:
        self.loaded.append(source)
        self.known.add(f"sha of {source}")

    def pipeline(self, *, transaction: bool) -> "FakePipeline":
        assert not transaction
        return FakePipeline(self)


class FakePipeline:
    def __init__(self, server: FakeRedis) -> None:
        self._server = server
        self._calls: list[tuple[str, str]] = []

    def evalsha(self, sha: str, keys: int, *args: str) -> None:
        self._calls.append((sha, ":".join(map(str, (keys, *args)))))

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        assert not raise_on_error
        self._server.groups.append([args for _, args in self._calls])
        self._server.arrived.release()
        await self._server.open.wait()
        if self._server.failure is not None:
            raise self._server.failure
        return [self._answer(sha, args) for sha, args in self._calls]

    def _answer(self, sha: str, args: str) -> Any:  # noqa: ANN401 - an answer or an error
        if sha not in self._server.known:
            return NoScriptError("NOSCRIPT")
        return ResponseError("refused") if args.endswith("bad") else f"{sha}:{args}"


def _told(story: Callable[[FakeRedis, GroupedScripts, str], Any], **options: int) -> None:
    async def tell() -> None:
        server: Any = FakeRedis()
        scripts = GroupedScripts(server, **options)
        await asyncio.wait_for(story(server, scripts, scripts.add("a script")), 5)

    asyncio.run(tell())


def test_calls_at_the_same_time_are_a_group_in_their_order() -> None:
    async def story(server: FakeRedis, scripts: GroupedScripts, sha: str) -> None:
        answers = await asyncio.gather(*(scripts.call(sha, [number]) for number in range(9)))
        assert answers == [f"sha of a script:0:{number}" for number in range(9)]
        assert await scripts.call(sha, ["x"], keys=["k"]) == "sha of a script:1:k:x"
        assert server.groups == [[f"0:{number}" for number in range(9)], ["1:k:x"]]

    _told(story)


def test_what_is_called_while_a_group_is_under_way_is_the_next_one() -> None:
    async def story(server: FakeRedis, scripts: GroupedScripts, sha: str) -> None:
        server.open.clear()
        first = scripts.call(sha, [1])
        await server.arrived.acquire()
        later = [scripts.call(sha, [number]) for number in (2, 3)]
        assert server.groups == [["0:1"]]
        server.open.set()
        assert await asyncio.gather(first, *later) == [f"sha of a script:0:{number}" for number in (1, 2, 3)]
        assert server.groups == [["0:1"], ["0:2", "0:3"]]

    _told(story)


def test_a_group_has_a_bound() -> None:
    async def story(server: FakeRedis, scripts: GroupedScripts, sha: str) -> None:
        answers = await asyncio.gather(*(scripts.call(sha, [number]) for number in range(7)))
        assert answers == [f"sha of a script:0:{number}" for number in range(7)]
        assert [len(group) for group in server.groups] == [3, 3, 1]

    _told(story, max_group=3)


def test_an_error_is_that_of_its_call_alone() -> None:
    async def story(_server: FakeRedis, scripts: GroupedScripts, sha: str) -> None:
        calls = [scripts.call(sha, [word]) for word in ("good", "bad", "fine")]
        good, bad, fine = await asyncio.gather(*calls, return_exceptions=True)
        assert (good, fine) == ("sha of a script:0:good", "sha of a script:0:fine")
        assert isinstance(bad, ResponseError)

    _told(story)


def test_a_server_that_is_away_fails_who_waits_and_nobody_later() -> None:
    async def story(server: FakeRedis, scripts: GroupedScripts, sha: str) -> None:
        server.open.clear()
        server.failure = RedisConnectionError("away")
        calls = [scripts.call(sha, [number]) for number in range(2)]
        await server.arrived.acquire()
        calls.append(scripts.call(sha, [2]))
        server.open.set()
        for call in calls:
            with pytest.raises(RedisConnectionError, match="away"):
                await call
        assert server.groups == [["0:0", "0:1"]]
        server.failure = None
        assert await scripts.call(sha, [3]) == "sha of a script:0:3"

    _told(story)


def test_a_process_that_ends_keeps_nobody_waiting() -> None:
    async def story(server: FakeRedis, scripts: GroupedScripts, sha: str) -> None:
        server.open.clear()
        calls = [scripts.call(sha, [1])]
        await server.arrived.acquire()
        calls.append(scripts.call(sha, [2]))
        assert scripts._sender is not None
        scripts._sender.cancel()
        for call in calls:
            with pytest.raises(asyncio.CancelledError):
                await call

    _told(story)


def test_a_caller_that_leaves_before_the_group_does_not_travel_with_it() -> None:
    async def story(server: FakeRedis, scripts: GroupedScripts, sha: str) -> None:
        leaving, staying = scripts.call(sha, [1]), scripts.call(sha, [2])
        leaving.cancel()
        assert await staying == "sha of a script:0:2"
        assert server.groups == [["0:2"]]

    _told(story)


def test_a_caller_that_leaves_later_takes_nobody_with_it() -> None:
    async def story(server: FakeRedis, scripts: GroupedScripts, sha: str) -> None:
        async def caller() -> Any:  # noqa: ANN401 - an answer
            return await scripts.call(sha, [1])

        server.open.clear()
        leaving = asyncio.create_task(caller())
        await asyncio.sleep(0)
        staying = scripts.call(sha, [2])
        await server.arrived.acquire()
        leaving.cancel()
        server.open.set()
        assert await staying == "sha of a script:0:2"
        assert leaving.cancelled()
        assert server.groups == [["0:1", "0:2"]]

    _told(story)


def test_a_server_that_forgot_a_script_is_told_all_and_asked_again_for_those_calls_alone() -> None:
    async def story(server: FakeRedis, scripts: GroupedScripts, sha: str) -> None:
        other = scripts.add("another")
        server.known.remove(other)
        calls = [scripts.call(sha, [1]), scripts.call(other, [2]), scripts.call(other, [3])]
        assert await asyncio.gather(*calls) == ["sha of a script:0:1", "sha of another:0:2", "sha of another:0:3"]
        assert server.loaded == ["a script", "another"]
        assert server.groups == [["0:1", "0:2", "0:3"], ["0:2", "0:3"]]

    _told(story)
