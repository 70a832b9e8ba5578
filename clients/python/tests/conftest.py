"""Both clients under one face, so that each test is about both."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typing_extensions import override

from clients.python.tests.fake import FakeApi
from ragline_client import AsyncRagline, Ragline

MakeClient = Callable[..., Any]

KEY = "rk_a-secret-that-nobody-may-see"


class Blocking:
    """Something asynchronous, used like its synchronous twin."""

    def __init__(self, inner: Any, runner: asyncio.Runner) -> None:
        self._inner = inner
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found
        return lambda *args, **options: self._settled(found(*args, **options))

    def __iter__(self) -> Iterator[Any]:
        inner = aiter(self._inner)
        while True:
            try:
                yield self._runner.run(_next(inner))
            except StopAsyncIteration:
                return

    @override
    def __repr__(self) -> str:
        return repr(self._inner)

    def _settled(self, value: Any) -> Any:
        if inspect.iscoroutine(value):
            value = self._runner.run(value)
        ours = type(value).__module__.startswith("ragline_client.async") or hasattr(value, "__aiter__")
        return Blocking(value, self._runner) if ours else value


async def _next(inner: Any) -> Any:
    return await anext(inner)


@pytest.fixture(params=["sync", "async"])
def make_client(request: pytest.FixtureRequest) -> Iterator[MakeClient]:
    """Makes clients of a fake service, one way and the other."""
    made: list[Any] = []
    with asyncio.Runner() as runner:

        def make(api: FakeApi, **options: Any) -> Any:
            options = {"api_key": KEY, **options}
            if request.param == "sync":
                client: Any = Ragline(api.url, transport=api.transport, pause=api.pauses.append, **options)
            else:
                client = Blocking(
                    AsyncRagline(api.url, transport=api.transport, pause=api.pause_async, **options), runner
                )
            made.append(client)
            return client

        yield make
        for client in made:
            client.close()
