import base64
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from threading import Event
from typing import Any

import numpy as np
import pytest

from ragline.common.errors import DependencyError, ProtocolError, RejectedError, TransientError
from ragline.pipeline.embedders.openai import OpenAIEmbedder
from ragline.stores.protocols import Vectors
from tests.support.openai_stub import OpenAIStub, Reply, vector_of
from tests.support.waiting import wait_until

KEY = "sk-Very-Secret-1234"
TEXT = "confidential: the merger is called Bluebird"
LIMIT_SECONDS = 10

Connect = Callable[..., OpenAIEmbedder]


@pytest.fixture
def connect(stub: OpenAIStub) -> Iterator[Connect]:
    made: list[OpenAIEmbedder] = []

    def make(
        *, base_url: str = stub.url, concurrency: int = 4, timeout_seconds: float = LIMIT_SECONDS
    ) -> OpenAIEmbedder:
        made.append(
            OpenAIEmbedder(
                base_url=base_url,
                api_key=KEY,
                model="stub-3",
                space="openai/stub-3",
                concurrency=concurrency,
                timeout_seconds=timeout_seconds,
            )
        )
        return made[-1]

    yield make
    for embedder in made:
        embedder.close()


def embed_all(embedder: OpenAIEmbedder, texts: list[str]) -> Vectors:
    vectors = np.zeros((len(texts), 16), np.float32)
    for batch in embedder.stream(texts):
        vectors[batch.start : batch.start + len(batch.vectors)] = batch.vectors
    return vectors


def expected(texts: list[str]) -> Vectors:
    vectors = np.stack([vector_of(text, 16) for text in texts])
    normal: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normal


def error_of(embedder: OpenAIEmbedder) -> DependencyError:
    with pytest.raises(DependencyError) as caught:
        embedder.embed_query(TEXT)
    return caught.value


def test_question_gets_its_vector_at_unit_length(stub: OpenAIStub, connect: Connect) -> None:
    vector = connect().embed_query("How long?")
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector, expected(["How long?"])[0], atol=1e-6)
    assert stub.requests == [{"input": ["How long?"], "model": "stub-3", "encoding_format": "base64"}]
    assert stub.keys == [f"Bearer {KEY}"]


def test_each_text_gets_its_own_vector_whatever_the_order_of_the_batches(stub: OpenAIStub, connect: Connect) -> None:
    first = Event()
    stub.answer(Reply(gate=first))
    texts = [f"text {number}" for number in range(300)]
    vectors = np.zeros((300, 16), np.float32)
    starts = []
    for batch in connect().stream(texts):
        starts.append(batch.start)
        vectors[batch.start : batch.start + len(batch.vectors)] = batch.vectors
        if len(starts) == 2:
            first.set()
    assert sorted(starts) == [0, 128, 256]
    assert stub.requests[0]["input"][0] == f"text {starts[-1]}", "the slow one comes last, and holds nobody up"
    np.testing.assert_allclose(vectors, expected(texts), atol=1e-6)


@pytest.mark.parametrize(
    ("usage", "tokens"), [({"prompt_tokens": 7, "total_tokens": 7}, 7), (None, None), ({"prompt_tokens": "7"}, None)]
)
def test_tokens_are_what_the_service_counts(
    stub: OpenAIStub, connect: Connect, usage: dict[str, object] | None, tokens: int | None
) -> None:
    stub.answer(Reply(edit=lambda body: {**body, "usage": usage}))
    (batch,) = connect().stream(["one text"])
    assert batch.tokens == tokens


def test_nothing_to_embed_asks_nothing(stub: OpenAIStub, connect: Connect) -> None:
    connect().warm()
    assert list(connect().stream([])) == []
    assert stub.requests == []


def test_request_stays_below_the_limits_of_the_provider(stub: OpenAIStub, connect: Connect) -> None:
    texts = ["\u8a9e" * 8000] * 40 + ["short"] * 200
    embed_all(connect(), texts)
    sizes = [(len(body["input"]), sum(len(text.encode()) for text in body["input"])) for body in stub.requests]
    assert all(count <= 128 and size <= 300_000 for count, size in sizes)
    assert sum(count for count, _ in sizes) == 240
    assert len(sizes) == 5


def test_one_text_above_the_limit_goes_alone(stub: OpenAIStub, connect: Connect) -> None:
    embed_all(connect(), ["a", "b" * 300_001, "c"])
    assert sorted(len(body["input"]) for body in stub.requests) == [1, 1, 1]


def test_requests_are_in_flight_together_up_to_the_bound(stub: OpenAIStub, connect: Connect) -> None:
    gate = Event()
    stub.answer(*[Reply(gate=gate)] * 10)
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(embed_all, connect(concurrency=3), [f"text {number}" for number in range(1280)])
        wait_until(lambda: stub.in_flight == 3, timeout_seconds=LIMIT_SECONDS)
        gate.set()
        result.result(LIMIT_SECONDS)
    assert stub.most_in_flight == 3
    assert len(stub.requests) == 10


def embedding_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("embed")]


def test_closing_early_begins_no_further_request(stub: OpenAIStub, connect: Connect) -> None:
    gate = Event()
    stub.answer(Reply(), *[Reply(gate=gate)] * 20)
    with closing(connect(concurrency=4).stream([f"text {number}" for number in range(2560)])) as stream:
        next(stream)
        wait_until(lambda: stub.in_flight == 4, timeout_seconds=LIMIT_SECONDS)
    gate.set()
    wait_until(lambda: not embedding_threads(), timeout_seconds=LIMIT_SECONDS)
    assert len(stub.requests) == 5


def test_a_stop_begins_no_further_request_and_keeps_what_is_paid_for(stub: OpenAIStub, connect: Connect) -> None:
    gate = Event()
    stub.answer(Reply(), *[Reply(gate=gate)] * 20)
    looks: list[None] = []

    def should_stop() -> bool:
        looks.append(None)
        wait_until(lambda: stub.in_flight == 4, timeout_seconds=LIMIT_SECONDS)
        threading.Timer(0.1, gate.set).start()
        return True

    texts = [f"text {number}" for number in range(2560)]
    batches = list(connect(concurrency=4).stream(texts, should_stop))
    assert len(batches) == len(stub.requests) == 5
    assert len(looks) == 1
    for batch in batches:
        np.testing.assert_allclose(batch.vectors, expected(texts[batch.start : batch.start + 128]), atol=1e-6)


def test_each_run_gets_somewhere_and_a_no_changes_nothing(stub: OpenAIStub, connect: Connect) -> None:
    assert len(list(connect(concurrency=1).stream(["text"], lambda: True))) == 1
    assert len(list(connect(concurrency=1).stream(["text"] * 300, lambda: False))) == 3
    assert len(stub.requests) == 4


def test_a_failure_after_the_stop_is_raised(stub: OpenAIStub, connect: Connect) -> None:
    stub.answer(Reply(), Reply(status=503))
    with pytest.raises(TransientError):
        list(connect(concurrency=2).stream(["text"] * 256, lambda: len(stub.requests) == 2))


def test_failed_batch_begins_no_further_request_and_keeps_what_is_paid_for(stub: OpenAIStub, connect: Connect) -> None:
    gate = Event()
    stub.answer(Reply(status=503), *[Reply(gate=gate)] * 100)
    texts = [f"text {number}" for number in range(100 * 128)]
    good = []
    with ThreadPoolExecutor(1) as pool:
        stream = connect(concurrency=8).stream(texts)
        first = pool.submit(next, stream)
        wait_until(lambda: len(stub.requests) >= 8, timeout_seconds=LIMIT_SECONDS)
        gate.set()
        good.append(first.result(LIMIT_SECONDS))
        with pytest.raises(TransientError, match="HTTP 503"):
            good.extend(stream)
    assert len(stub.requests) < 16, "those that waited in the pool are cancelled"
    assert len(good) == len(stub.requests) - 1
    for batch in good:
        np.testing.assert_allclose(batch.vectors, expected(texts[batch.start : batch.start + 128]), atol=1e-6)


@pytest.mark.parametrize(
    ("reply", "kind", "detail"),
    [
        (Reply(status=408), TransientError, "HTTP 408"),
        (Reply(status=409), TransientError, "HTTP 409"),
        (Reply(status=429), TransientError, "HTTP 429"),
        (Reply(status=500), TransientError, "HTTP 500"),
        (Reply(status=503), TransientError, "HTTP 503"),
        (Reply(status=400), RejectedError, "HTTP 400"),
        (Reply(status=401), RejectedError, "HTTP 401"),
        (Reply(status=404), RejectedError, "HTTP 404"),
        (Reply(status=413), RejectedError, "HTTP 413"),
    ],
)
def test_status_decides_about_another_try(
    stub: OpenAIStub, connect: Connect, reply: Reply, kind: type[DependencyError], detail: str
) -> None:
    stub.answer(reply)
    error = error_of(connect())
    assert type(error) is kind
    assert error.detail == f"openai embed: {detail}"
    assert len(stub.requests) == 1, "the ledger retries, not the client"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "7"}, timedelta(seconds=7)),
        ({"retry-after-ms": "250", "retry-after": "1"}, timedelta(milliseconds=250)),
        ({}, None),
    ],
)
def test_rate_limit_says_how_long_to_wait(
    stub: OpenAIStub, connect: Connect, headers: dict[str, str], wait: timedelta | None
) -> None:
    stub.answer(Reply(status=429, headers=headers))
    error = error_of(connect())
    assert isinstance(error, TransientError)
    assert error.retry_after == wait


def test_exhausted_quota_is_final(stub: OpenAIStub, connect: Connect) -> None:
    body = (
        b'{"error": {"message": "You exceeded your quota", "type": "insufficient_quota", "code": "insufficient_quota"}}'
    )
    stub.answer(Reply(status=429, body=body, headers={"retry-after": "1"}))
    error = error_of(connect())
    assert type(error) is RejectedError
    assert error.detail == "openai embed: HTTP 429 (insufficient_quota)"


def test_silence_is_transient(stub: OpenAIStub, connect: Connect) -> None:
    gate = Event()
    stub.answer(Reply(gate=gate))
    error = error_of(connect(timeout_seconds=0.1))
    gate.set()
    assert type(error) is TransientError
    assert "no answer in time" in error.detail


def test_refused_connection_is_transient(connect: Connect) -> None:
    # Port 9 is reserved for a service that nobody runs.
    assert type(error_of(connect(base_url="http://127.0.0.1:9/v1"))) is TransientError


def test_broken_connection_is_transient(stub: OpenAIStub, connect: Connect) -> None:
    stub.answer(Reply(body=b'{"object":', headers={"content-length": "1000"}))
    assert type(error_of(connect())) is TransientError


def without(payload: dict[str, Any], key: str) -> dict[str, Any]:
    del payload["data"][0][key]
    return payload


def with_vector(vector: object) -> Reply:
    def edit(payload: dict[str, Any]) -> object:
        payload["data"][0]["embedding"] = vector
        return payload

    return Reply(edit=edit)


def packed(*numbers: float) -> str:
    return base64.b64encode(np.array(numbers, "<f4").tobytes()).decode()


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(body=b"<html>gateway</html>", media_type="text/html"), id="html"),
        pytest.param(Reply(body=b"{broken"), id="broken JSON"),
        pytest.param(Reply(body=b""), id="empty"),
        pytest.param(Reply(body=b"null"), id="null"),
        pytest.param(Reply(body=b"[]"), id="list"),
        pytest.param(Reply(body=b"{}"), id="no data"),
        pytest.param(Reply(body=b'{"data": null}'), id="null data"),
        pytest.param(Reply(body=b'{"data": ["x"]}'), id="data of strings"),
        pytest.param(Reply(body=b'{"data": [{"index": [0], "embedding": [1.0]}]}'), id="list as index"),
        pytest.param(Reply(edit=lambda payload: {**payload, "data": payload["data"] * 2}), id="too many"),
        pytest.param(Reply(edit=lambda payload: {**payload, "data": []}), id="none"),
        pytest.param(Reply(edit=lambda payload: without(payload, "index")), id="no index"),
        pytest.param(Reply(edit=lambda payload: without(payload, "embedding")), id="no vector"),
        pytest.param(with_vector(packed(1, float("nan"), 1)), id="NaN"),
        pytest.param(with_vector(packed(1, float("inf"), 1)), id="infinity"),
        pytest.param(with_vector(packed(0, 0, 0)), id="zero"),
        pytest.param(with_vector([1e300, 1.0]), id="beyond float32"),
        pytest.param(with_vector("not base64!"), id="not base64"),
        pytest.param(with_vector("AAAA"), id="three bytes"),
        pytest.param(with_vector(""), id="empty vector"),
        pytest.param(with_vector([["a"]]), id="words"),
        pytest.param(with_vector([[1.0, 2.0]]), id="matrix"),
        pytest.param(with_vector([]), id="no numbers"),
        pytest.param(with_vector(7), id="number"),
    ],
)
def test_unusable_reply_is_a_protocol_error(stub: OpenAIStub, connect: Connect, reply: Reply) -> None:
    stub.answer(reply)
    embedder = connect()
    assert type(error_of(embedder)) is ProtocolError
    assert len(embedder.embed_query("next")) == 16, "one bad reply leaves the embedder usable"


def test_vectors_in_another_order_are_sorted_by_index(stub: OpenAIStub, connect: Connect) -> None:
    stub.answer(Reply(edit=lambda payload: {**payload, "data": payload["data"][::-1]}))
    texts = ["a", "b", "c"]
    np.testing.assert_allclose(embed_all(connect(), texts), expected(texts), atol=1e-6)


def test_index_given_twice_is_a_protocol_error(stub: OpenAIStub, connect: Connect) -> None:
    stub.answer(Reply(edit=lambda payload: {**payload, "data": [payload["data"][0]] * 2}))
    with pytest.raises(ProtocolError, match="not numbered"):
        embed_all(connect(), ["a", "b"])


def test_server_that_sends_lists_instead_of_base64_is_understood(stub: OpenAIStub, connect: Connect) -> None:
    stub.answer(with_vector([3.0, 4.0]))
    np.testing.assert_allclose(connect().embed_query("x"), [0.6, 0.8], atol=1e-6)


def test_change_of_dimensions_is_a_protocol_error(stub: OpenAIStub, connect: Connect) -> None:
    embedder = connect()
    embedder.embed_query("x")
    stub.answer(with_vector([3.0, 4.0]))
    with pytest.raises(ProtocolError, match="2 dimensions after some of 16"):
        embedder.embed_query("y")


def test_lone_surrogate_of_a_broken_pdf_is_replaced(stub: OpenAIStub, connect: Connect) -> None:
    connect().embed_query("a\ud800b")
    assert stub.requests[0]["input"] == ["a?b"]


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_error_names_neither_key_nor_text(stub: OpenAIStub, connect: Connect, status: int) -> None:
    body = f'{{"error": {{"message": "bad key {KEY} for {TEXT}", "code": "{KEY}", "type": "{TEXT}"}}}}'
    stub.answer(Reply(status=status, body=body.encode()))
    error = error_of(connect())
    shown = f"{error} {error.to_log()} {error.__cause__} {error.__suppress_context__}"
    assert KEY not in shown
    assert "Bluebird" not in shown
    assert error.__suppress_context__
