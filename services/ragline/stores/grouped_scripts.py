"""Lua scripts that are called at the same time travel to Redis together: one write, one read, one wait for the disk."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio
from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ragline.common.constants import BROKER_TIMEOUT_SECONDS

__all__ = ["GroupedScripts"]

_PATIENCE_SECONDS = BROKER_TIMEOUT_SECONDS - 0.2
"""Longest wait of a call, those before it and a server that has forgotten all scripts included."""

_MAX_GROUP = 64
"""Most calls of one group: Redis works through a group at one go, 10 ms for accepting so many questions."""

_Argument = str | bytes | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    sha: str
    keys: Sequence[str]
    args: Sequence[_Argument]
    answer: "asyncio.Future[Any]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    since: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    def settle(self, answer: Any) -> None:  # noqa: ANN401 - whatever the script answers, or an error
        # A caller that was cancelled waits no longer.
        if self.answer.done():
            return
        if isinstance(answer, asyncio.CancelledError):
            self.answer.cancel()
        elif isinstance(answer, Exception):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


class GroupedScripts:
    """Calls scripts; one instance for all requests of a process.

    One group is under way at a time, and what is called meanwhile is the next one: alone, a call leaves at once, and
    nobody waits for longer than Redis takes for those before it. Redis runs the calls of a group in their order, each
    atomic by itself.

    Parameters
    ----------
    max_group
        Most calls of a group.
    """

    def __init__(self, client: "redis.asyncio.Redis", *, max_group: int = _MAX_GROUP) -> None:
        # redis-py types every answer as one that may have to be awaited.
        self._redis: Any = client
        self._max_group = max_group
        self._sources: list[str | bytes] = []
        self._waiting: list[_Call] = []
        self._sender: asyncio.Task[None] | None = None

    def add(self, source: str | bytes) -> str:
        """Make a script known.

        Parameters
        ----------
        source
            Its Lua text.

        Returns
        -------
        str
            Its name for `call`.
        """
        sha: str = self._redis.register_script(source).sha
        self._sources.append(source)
        return sha

    def call(self, sha: str, args: Sequence[_Argument], *, keys: Sequence[str] = ()) -> "asyncio.Future[Any]":
        """What a script will answer: to be awaited, with what redis-py raises for this call or for the way to Redis."""
        call = _Call(sha=sha, keys=keys, args=args)
        self._waiting.append(call)
        if self._sender is None or self._sender.done():
            # A task of its own: a caller that is cancelled takes nobody with it.
            self._sender = asyncio.create_task(self._send())
        return call.answer

    async def _send(self) -> None:
        calls: Sequence[_Call] = ()
        try:
            while self._waiting:
                calls, self._waiting = self._waiting[: self._max_group], self._waiting[self._max_group :]
                calls = [call for call in calls if not call.answer.done()]
                if not calls:
                    continue
                # The oldest one may have waited behind a group that was slow already.
                async with asyncio.timeout_at(calls[0].since + _PATIENCE_SECONDS):
                    answers = await self._answers(calls)
                for call, answer in zip(calls, answers, strict=True):
                    call.settle(answer)
        except TimeoutError as error:
            late = RedisTimeoutError("no answer in time")
            late.__cause__ = error
            self._give_up(calls, late)
        except Exception as error:  # noqa: BLE001 - raised again where each of them is awaited
            self._give_up(calls, error)
        except asyncio.CancelledError as error:
            self._give_up(calls, error)
            raise

    def _give_up(self, calls: Sequence[_Call], error: BaseException) -> None:
        """Who waits behind a group that Redis did not answer has waited as long, and would wait as long again."""
        waiting, self._waiting = self._waiting, []
        for call in (*calls, *waiting):
            call.settle(error)

    async def _answers(self, calls: Sequence[_Call]) -> list[Any]:
        answers = await self._pipeline(calls)
        unknown = [number for number, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            # A server that has just started. It is told all of them: calls of one group that read what others wrote
            # would otherwise come before these.
            for source in self._sources:
                await self._redis.script_load(source)
            again = await self._pipeline([calls[number] for number in unknown])
            for number, answer in zip(unknown, again, strict=True):
                answers[number] = answer
        return answers

    async def _pipeline(self, calls: Sequence[_Call]) -> list[Any]:
        pipe = self._redis.pipeline(transaction=False)
        for call in calls:
            pipe.evalsha(call.sha, len(call.keys), *call.keys, *call.args)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers
