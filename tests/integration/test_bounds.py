"""Every bound of a request: what is at it is accepted, one more is refused by its name; and bounds of what is open."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any

import httpx2
import pytest

from ragline.common import constants
from ragline.common.config import ApiConfig, WorkerConfig
from ragline.common.identifiers import new_id
from ragline.common.queues import Queue
from tests.support import pdfs
from tests.support.keys import client_of, made_key
from tests.support.openai_stub import OpenAIStub, Reply
from tests.support.stack import Stack, running_stack
from tests.support.waiting import wait_until

STATIC = "static-key-of-the-bounds"
LIMITS = {
    "MAX_ANSWER_TOKENS": 50,
    "MAX_BACKLOG": 8,
    "MAX_BACKLOG_PER_TENANT": 5,
    "MAX_PAGES": 3,
    "MAX_STREAMS": 3,
    "MAX_STREAMS_PER_TENANT": 2,
    "MAX_TEXT_BYTES": 80,
    "MAX_UPLOAD_BYTES": 20_000,
    "TENANT_TOKENS_PER_DAY": 1000,
}
PDF = pdfs.text_pdf(["Otters sleep in rafts."])
QUERIES, DOCUMENTS = "/v1/collections/otters/queries", "/v1/collections/otters/documents"

_MIB = 2**20

Send = Callable[[httpx2.Client, int], httpx2.Response]


@dataclass(frozen=True, kw_only=True)
class Bound:
    """How to send a request of a size, and how it is refused."""

    most: int
    send: Send
    accepted: int = 200
    status: int = 422
    code: str = "invalid_request"


def asking(member: Callable[[int], dict[str, Any]]) -> Send:
    return lambda client, size: client.post(QUERIES, json={"question": "Who?", **member(size)})


def chatting(member: Callable[[int], dict[str, Any]]) -> Send:
    chat = {"model": "otters", "messages": [{"role": "user", "content": "Who?"}]}
    return lambda client, size: client.post("/v1/chat/completions", json={**chat, **member(size)})


def embedding(member: Callable[[int], dict[str, Any]]) -> Send:
    return lambda client, size: client.post("/v1/embeddings", json={"model": "otters", "input": "x", **member(size)})


def original(member: Callable[[int], dict[str, Any]]) -> Send:
    body = {"question": "Who?", "persist_directory": "otters"}
    return lambda client, size: client.post("/rag/query/sync", json={**body, **member(size)})


def noting(metadata: Callable[[int], str]) -> Send:
    """An upload with metadata of that size."""
    return lambda client, size: client.post(
        DOCUMENTS, files={"metadata": (None, metadata(size)), "file": ("otters.pdf", PDF)}
    )


def raw(*, name: Callable[[int], str] = lambda _: "otters.pdf", data: Callable[[int], bytes] = lambda _: PDF) -> Send:
    headers = {"Content-Type": "application/pdf"}
    return lambda client, size: client.post(DOCUMENTS, params={"name": name(size)}, content=data(size), headers=headers)


def looking(path: str, parameter: str) -> Send:
    return lambda client, size: client.get(path, params={parameter: size})


def padded(data: bytes, size: int) -> bytes:
    return data + b" " * (size - len(data))


def flat(size: int) -> dict[str, int]:
    return {f"key{number}": 1 for number in range(size)}


BOUNDS = {
    "question": Bound(most=constants.MAX_QUESTION_CHARS, send=asking(lambda n: {"question": "x" * n})),
    "question of a chat": Bound(
        most=constants.MAX_QUESTION_CHARS,
        send=chatting(lambda n: {"messages": [{"role": "user", "content": "x" * n}]}),
    ),
    "question of the original": Bound(
        most=constants.MAX_QUESTION_CHARS, send=original(lambda n: {"question": "x" * n})
    ),
    "top_k": Bound(most=constants.MAX_TOP_K, send=asking(lambda n: {"top_k": n})),
    "top_k of a chat": Bound(most=constants.MAX_TOP_K, send=chatting(lambda n: {"top_k": n})),
    "top_k of the original": Bound(most=constants.MAX_TOP_K, send=original(lambda n: {"top_k": n})),
    "temperature, hundredths": Bound(most=200, send=asking(lambda n: {"temperature": n / 100})),
    "temperature of a chat, hundredths": Bound(most=200, send=chatting(lambda n: {"temperature": n / 100})),
    "max_tokens": Bound(most=LIMITS["MAX_ANSWER_TOKENS"], send=asking(lambda n: {"max_tokens": n})),
    "max_tokens of a chat": Bound(most=LIMITS["MAX_ANSWER_TOKENS"], send=chatting(lambda n: {"max_tokens": n})),
    "keys of a filter": Bound(most=32, send=asking(lambda n: {"filter": flat(n)})),
    "values of a filter": Bound(most=128, send=asking(lambda n: {"filter": {"key": {"in": list(range(n))}}})),
    "choices of a chat": Bound(most=1, send=chatting(lambda n: {"n": n})),
    "messages of a chat": Bound(
        most=200, send=chatting(lambda n: {"messages": [{"role": "user", "content": "Who?"}] * n})
    ),
    "message of a chat": Bound(
        most=100_000,
        send=chatting(
            lambda n: {"messages": [{"role": "system", "content": "x" * n}, {"role": "user", "content": "Who?"}]}
        ),
    ),
    "name of a model": Bound(most=200, send=chatting(lambda n: {"model": "x" * n}), accepted=404),
    "texts to embed": Bound(most=constants.MAX_EMBEDDING_TEXTS, send=embedding(lambda n: {"input": ["x"] * n})),
    "text to embed": Bound(most=constants.MAX_EMBEDDING_CHARS, send=embedding(lambda n: {"input": "x" * n})),
    "data to process": Bound(
        most=constants.MAX_DATA_CHARS, send=lambda client, n: client.post("/tasks/process", json={"data": "x" * n})
    ),
    "pdf_path": Bound(
        most=4096,
        send=lambda client, n: client.post("/rag/pipeline", json={"pdf_path": "x" * n, "persist_directory": "x"}),
        accepted=404,
    ),
    "keys of metadata": Bound(most=32, send=noting(lambda n: json.dumps(flat(n))), accepted=202),
    "key of metadata": Bound(most=64, send=noting(lambda n: json.dumps({"k" * n: 1})), accepted=202),
    "value of metadata": Bound(most=512, send=noting(lambda n: json.dumps({"key": "x" * n})), accepted=202),
    "metadata, bytes": Bound(most=2**18, send=noting(lambda n: padded(b"{}", n).decode()), accepted=202),
    "name of a document": Bound(
        most=constants.MAX_NAME_BYTES, send=raw(name=lambda n: "é" * (n // 2) + "x" * (n % 2)), accepted=202
    ),
    "name of a collection": Bound(
        most=63,
        send=lambda client, n: client.post(f"/v1/collections/{'x' * n}/documents", files={"file": ("a.pdf", PDF)}),
        accepted=202,
    ),
    "document, bytes": Bound(
        most=LIMITS["MAX_UPLOAD_BYTES"],
        send=raw(data=lambda n: padded(PDF, n)),
        accepted=202,
        status=413,
        code="too_large",
    ),
    "body, bytes": Bound(
        most=_MIB,
        send=lambda client, n: client.post(
            "/tasks/process", content=padded(b'{"data": "x"}', n), headers={"Content-Type": "application/json"}
        ),
        status=413,
        code="too_large",
    ),
    "Idempotency-Key": Bound(
        most=255,
        send=lambda client, n: client.post(
            "/tasks/process", json={"data": "x"}, headers={"Idempotency-Key": new_id("k").ljust(n, "x")}
        ),
    ),
    "page of documents": Bound(most=200, send=looking(DOCUMENTS, "limit")),
    "page of collections": Bound(most=200, send=looking("/v1/collections", "limit")),
}
"""Bounds of one request."""

OF_A_JOB = {"MAX_PAGES", "MAX_TEXT_BYTES"}
"""Bounds that a worker finds out about."""

OF_ALL_REQUESTS = {
    "MAX_BACKLOG",
    "MAX_BACKLOG_PER_TENANT",
    "MAX_STREAMS",
    "MAX_STREAMS_PER_TENANT",
    "TENANT_TOKENS_PER_DAY",
}
"""Bounds of what is open or waiting, with tests of their own below. Those of requests in a minute: test_keys.py."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, stub_server: OpenAIStub) -> Iterator[Stack]:
    settings = {
        **{name: str(most) for name, most in LIMITS.items()},
        "ANSWER_CACHE_SECONDS": "0",
        "API_KEYS": STATIC,
        "ENABLE_AUTH": "true",
        "OPENAI_API_KEY": "sk-1",
        "OPENAI_BASE_URL": stub_server.url,
    }
    with running_stack(tmp_path_factory.mktemp("bounds"), settings) as running:
        assert running.ingest("otters", "otters.pdf", PDF)["status"] == "succeeded"
        yield running


@contextmanager
def tenant(stack: Stack) -> Iterator[httpx2.Client]:
    """A client of a tenant of its own, with a collection."""
    name = new_id("t").replace("_", "-")
    with client_of(stack, made_key(stack, tenant=name)["key"]) as client:
        _end(client, client.post(DOCUMENTS, files={"file": ("otters.pdf", PDF)}))
        yield client


def _end(client: httpx2.Client, sent: httpx2.Response) -> dict[str, Any]:
    assert sent.status_code == 202, sent.text
    job: dict[str, Any] = {}

    def ended() -> bool:
        nonlocal job
        job = client.get(sent.headers["location"], params={"wait": 1}).json()
        return job["status"] in {"succeeded", "failed", "cancelled"}

    wait_until(ended, timeout_seconds=60)
    return job


def _upload(client: httpx2.Client, *pages: str) -> httpx2.Response:
    return client.post(DOCUMENTS, files={"file": (f"{new_id('d')}.pdf", pdfs.text_pdf(pages))})


def _assert_refused(reply: httpx2.Response, status: int, code: str) -> None:
    assert (reply.status_code, reply.json()["code"]) == (status, code), reply.text
    assert int(reply.headers["retry-after"]) >= 1
    assert reply.json()["retryable"]


def test_every_setting_that_bounds_has_a_test() -> None:
    bounding = {
        name.upper()
        for config in (ApiConfig, WorkerConfig)
        for name in config.model_fields
        if name.startswith("max_") or name.endswith("_per_day")
    }
    assert bounding == set(LIMITS)
    assert {*OF_A_JOB, *OF_ALL_REQUESTS, "MAX_ANSWER_TOKENS", "MAX_UPLOAD_BYTES"} == set(LIMITS)


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_the_bound_is_accepted_and_one_more_is_not(stack: Stack, stub: OpenAIStub, name: str) -> None:
    bound = BOUNDS[name]

    # One that begins while the last one's jobs still wait must not meet the bound of the backlog.
    def sent() -> httpx2.Response:
        replies.append(bound.send(stack.client, bound.most))
        return replies[-1]

    replies: list[httpx2.Response] = []
    wait_until(lambda: sent().status_code != 429, timeout_seconds=60, interval_seconds=0.2)
    refused = bound.send(stack.client, bound.most + 1)

    assert replies[-1].status_code == bound.accepted, replies[-1].text
    assert (refused.status_code, refused.json()["code"]) == (bound.status, bound.code), refused.text
    assert refused.headers["content-type"] == "application/problem+json"
    assert len(refused.text) < 2000
    assert stub.url


@pytest.mark.parametrize(
    ("pages", "code"),
    [(["x"] * 3, None), (["x"] * 4, "too_many_pages"), (["x" * 80], None), (["x" * 81], "too_large")],
    ids=["3 pages", "4 pages", "80 bytes", "81 bytes"],
)
def test_bounds_that_a_worker_finds_out_about(stack: Stack, pages: list[str], code: str | None) -> None:
    with tenant(stack) as client:
        job = _end(client, _upload(client, *pages))

    assert (job["error"] or {}).get("code") == code
    assert job["status"] == ("failed" if code else "succeeded")


def test_a_form_may_hold_a_thousand_files(stack: Stack) -> None:
    def results(count: int) -> list[dict[str, Any]]:
        files = [("file", (f"{number}.pdf", b"%PDF-1.7")) for number in range(count)]
        reply = client.post(f"{DOCUMENTS}/batch", files=files)
        assert reply.status_code == 202
        found: list[dict[str, Any]] = reply.json()["results"]
        return found

    with tenant(stack) as client:
        accepted, refused = results(1000), results(1001)

    assert [result["name"] for result in accepted] == [f"{number}.pdf" for number in range(1000)]
    # Each for itself: this tenant may not have so much waiting.
    assert {(result["problem"] or {}).get("code") for result in accepted} == {None, "backlog_full"}
    assert (len(refused), refused[-1]["name"], refused[-1]["problem"]["code"]) == (1001, "", "invalid_request")


def test_a_backlog_is_bounded_for_a_tenant_and_for_all(stack: Stack) -> None:
    worker = stack.workers[Queue.DOCUMENT]
    with tenant(stack) as first, tenant(stack) as second:
        worker.freeze()
        try:
            mine = [_upload(first, "Otters.") for _ in range(5)]
            _assert_refused(_upload(first, "Otters."), 429, "backlog_full")
            theirs = [_upload(second, "Otters.") for _ in range(3)]
            _assert_refused(_upload(second, "Otters."), 503, "overloaded")
        finally:
            worker.thaw()
        assert {_end(first, sent)["status"] for sent in mine} == {"succeeded"}
        assert {_end(second, sent)["status"] for sent in theirs} == {"succeeded"}
        assert _end(first, _upload(first, "Otters."))["status"] == "succeeded"


def test_a_budget_of_tokens_ends_a_tenants_questions_alone(stack: Stack, stub: OpenAIStub) -> None:
    def ask(client: httpx2.Client) -> httpx2.Response:
        return client.post(QUERIES, json={"question": "Who sleeps?"})

    with tenant(stack) as first, tenant(stack) as second:
        stub.answer(Reply(usage={"prompt_tokens": 990, "completion_tokens": 9}), Reply())
        # One below the budget; the question that crosses it is still answered.
        assert [ask(first).status_code for _ in range(2)] == [200, 200]

        refused = ask(first)

        _assert_refused(refused, 429, "budget_exhausted")
        assert int(refused.headers["retry-after"]) <= 24 * 3600
        assert len(stub.requests) == 2
        assert ask(second).status_code == 200
        assert _end(first, _upload(first, "Otters."))["status"] == "succeeded"


@contextmanager
def _stream(client: httpx2.Client, *, chat: bool = False) -> Iterator[httpx2.Response]:
    chatted = {"model": "otters", "stream": True, "messages": [{"role": "user", "content": "Who?"}]}
    path, body = ("/v1/chat/completions", chatted) if chat else (QUERIES, {"question": "Who sleeps?"})
    headers = {"Accept": "application/json" if chat else "text/event-stream"}
    with client.stream("POST", path, json=body, headers=headers) as reply:
        if not reply.is_success:
            reply.read()
        yield reply


def _refused_stream(client: httpx2.Client, *, chat: bool) -> None:
    with _stream(client, chat=chat) as reply:
        _assert_refused(reply, 429, "too_many_streams")


def test_open_streams_are_bounded_and_free_again_when_closed(stack: Stack, stub: OpenAIStub) -> None:
    gate = Event()
    stub.answer(*[Reply(gate=gate) for _ in range(9)])
    with tenant(stack) as first, tenant(stack) as second, ExitStack() as streams:
        try:
            for chat in (False, True):
                assert streams.enter_context(_stream(first, chat=chat)).status_code == 200
            for chat in (False, True):
                _refused_stream(first, chat=chat)
            # The third of three, of another tenant: then nobody may.
            theirs = streams.enter_context(_stream(second))
            assert theirs.status_code == 200
            _refused_stream(second, chat=False)
            wait_until(lambda: len(stub.requests) == 3, timeout_seconds=20)

            streams.close()
            wait_until(lambda: _opens(first), timeout_seconds=20)
            # What was refused has cost nothing.
            assert len(stub.requests) <= 4
        finally:
            gate.set()


def _opens(client: httpx2.Client) -> bool:
    with _stream(client) as reply:
        return reply.is_success


@pytest.mark.parametrize("chat", [False, True], ids=["query", "chat"])
def test_who_leaves_a_stream_cancels_the_question(stack: Stack, stub: OpenAIStub, *, chat: bool) -> None:
    # More than anybody reads to the end.
    stub.answer(Reply(pieces=["word "] * 500_000))
    with tenant(stack) as client:
        with _stream(client, chat=chat) as reply:
            job = reply.headers["location"]
            assert any("word" in line for line in reply.iter_lines())

        wait_until(lambda: client.get(job).json()["status"] == "cancelled", timeout_seconds=20)
    assert stub.given_up.wait(20)
