"""Streams are counted while they are open, however they end."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from ragline.api.streaming import EventStream, OpenStreams
from ragline.common.errors import TooManyStreams


async def _events() -> AsyncGenerator[bytes]:
    yield b"data: 1\n\n"


async def _broken() -> AsyncGenerator[bytes]:
    yield b"data: 1\n\n"
    raise RuntimeError


def _open(streams: OpenStreams, tenant: str) -> None:
    with streams.opening(tenant):
        pass


def _send(stream: EventStream) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def send(message: Any) -> None:  # noqa: ANN401 - of ASGI
        sent.append(message)

    asyncio.run(stream({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send))
    return sent


def test_one_tenant_takes_no_more_than_its_part() -> None:
    streams = OpenStreams(limit=10, limit_per_tenant=2)
    for _ in range(2):
        _open(streams, "a")
    with pytest.raises(TooManyStreams):
        _open(streams, "a")
    _open(streams, "b")
    streams.closed("a")
    _open(streams, "a")


def test_all_tenants_together_have_a_bound() -> None:
    streams = OpenStreams(limit=2, limit_per_tenant=2)
    _open(streams, "a")
    _open(streams, "b")
    with pytest.raises(TooManyStreams):
        _open(streams, "c")


def test_a_stream_counts_from_the_moment_it_is_promised_until_its_end() -> None:
    streams = OpenStreams(limit=1, limit_per_tenant=1)
    with streams.opening("a"):
        with pytest.raises(TooManyStreams):
            _open(streams, "a")
        stream = EventStream(_events(), streams=streams, tenant="a", headers={"Location": "/v1/jobs/job_1"})
    with pytest.raises(TooManyStreams):
        _open(streams, "a")
    start, *_ = _send(stream)
    headers = dict(start["headers"])
    assert headers[b"cache-control"] == b"no-cache"
    assert headers[b"location"] == b"/v1/jobs/job_1"
    assert headers[b"content-type"].startswith(b"text/event-stream")
    _open(streams, "a")


def test_what_could_not_be_begun_gives_its_place_back() -> None:
    streams = OpenStreams(limit=1, limit_per_tenant=1)
    with pytest.raises(ZeroDivisionError), streams.opening("a"):
        raise ZeroDivisionError
    assert streams.count == 0


def test_a_stream_that_breaks_gives_its_place_back() -> None:
    streams = OpenStreams(limit=1, limit_per_tenant=1)
    _open(streams, "a")
    with pytest.raises(RuntimeError):
        _send(EventStream(_broken(), streams=streams, tenant="a"))
    _open(streams, "a")
