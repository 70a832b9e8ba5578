"""Replies of a Ragline API without the API, for the commands that call it."""

import json
from collections.abc import Mapping, Sequence

import httpx2

__all__ = ["FakeApi", "events", "problem"]


class FakeApi:
    """Answers requests from a table of ``"METHOD /path"``; the last reply of a list is repeated.

    Attributes
    ----------
    requests
        What it was asked, in order.
    """

    def __init__(self, replies: Mapping[str, Sequence[httpx2.Response]]) -> None:
        self._replies = {address: list(responses) for address, responses in replies.items()}
        self.requests: list[httpx2.Request] = []

    @property
    def transport(self) -> httpx2.MockTransport:
        """For a client."""
        return httpx2.MockTransport(self._answer)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.requests.append(request)
        replies = self._replies[f"{request.method} {request.url.raw_path.decode().partition('?')[0]}"]
        return replies.pop(0) if len(replies) > 1 else replies[0]


def events(*pairs: tuple[str, object]) -> httpx2.Response:
    """A stream of events, as (type, data)."""
    frames = [
        f"id: {number}-0\nevent: {kind}\ndata: {json.dumps(data)}\n\n" for number, (kind, data) in enumerate(pairs)
    ]
    return httpx2.Response(
        200, headers={"Content-Type": "text/event-stream"}, content=": heartbeat\n\n" + "".join(frames)
    )


def problem(status: int, code: str, *, title: str = "Title", detail: str = "", **headers: str) -> httpx2.Response:
    """A problem as the API reports one; headers by name with ``_`` for ``-``."""
    body = {"title": title, "code": code, "detail": detail, "status": status, "request_id": "req_1", "retryable": False}
    sent = {
        "Content-Type": "application/problem+json",
        **{key.replace("_", "-"): value for key, value in headers.items()},
    }
    return httpx2.Response(status, headers=sent, content=json.dumps(body))
