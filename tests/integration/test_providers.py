"""The service with an OpenAI-compatible model: what it costs, what it survives, and that the key stays secret."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx2
import pytest
import redis

from tests.support import pdfs
from tests.support.openai_stub import OpenAIStub, Reply
from tests.support.servers import Process, free_port, python
from tests.support.stack import Stack, running_stack
from tests.support.waiting import wait_until

KEY = "sk-canary-5f0c2b9e7d"
MODEL, OTHER_MODEL = "stub-embed-3", "stub-embed-4"
MODEL_TIMEOUT_SECONDS = 2
LEAKY = json.dumps(
    {"error": {"message": f"Incorrect API key provided: {KEY}", "type": "invalid_request_error", "param": KEY}}
).encode()
"""What OpenAI answers to a wrong key: it quotes the key."""

BATCH_TEXTS, BATCH_TOKENS = 128, 300_000
EURO_PAGE = " ".join(["\u20ac" * 30] * 170)
"""A page of 5,300 characters of three bytes each: its chunks meet the limit of tokens before that of texts."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, stub_server: OpenAIStub) -> Iterator[Stack]:
    """A service whose models are the stub."""
    settings = {
        "ANSWER_CACHE_SECONDS": "0",
        "EMBEDDER": "openai",
        "EMBEDDING_MODEL": MODEL,
        "LLM_MODEL": "stub-chat",
        "LLM_TIMEOUT_SECONDS": str(MODEL_TIMEOUT_SECONDS),
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": stub_server.url,
    }
    with running_stack(tmp_path_factory.mktemp("providers"), settings) as running:
        yield running


@pytest.fixture(scope="module")
def animals(stack: Stack, stub_server: OpenAIStub) -> Stack:
    """The service with a collection of two passages: every question is given both."""
    stub_server.reset()
    job = stack.ingest("animals", "animals.pdf", pdfs.text_pdf(["Otters sleep in rafts.", "Herons stand on one leg."]))
    assert job["status"] == "succeeded", job
    return stack


@contextmanager
def _streamed(stack: Stack, question: str = "How do otters sleep?") -> Iterator[httpx2.Response]:
    headers = {"Accept": "text/event-stream"}
    path = "/v1/collections/animals/queries"
    with stack.client.stream("POST", path, json={"question": question}, headers=headers) as reply:
        yield reply


def _events(reply: httpx2.Response) -> list[tuple[str, dict[str, Any]]]:
    blocks = [block for block in "\n".join(reply.iter_lines()).split("\n\n") if "event:" in block]
    fields = [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]
    return [(event["event"], json.loads(event["data"])) for event in fields]


def _inputs(stub: OpenAIStub) -> list[list[str]]:
    return [request["input"] for request in stub.requests if "input" in request]


def _embedded(stub: OpenAIStub) -> Counter[str]:
    return Counter(text for texts in _inputs(stub) for text in texts)


def _only_vectors(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "data": body["data"][:-1]}


def test_documents_are_embedded_in_batches_that_the_model_takes(stack: Stack, stub: OpenAIStub) -> None:
    long = pdfs.text_pdf([f"{number} {EURO_PAGE}" for number in range(40)])

    jobs = [
        stack.ingest("batches", "long.pdf", long),
        stack.ingest("batches", "short.pdf", pdfs.text_pdf(["One short page."])),
    ]

    assert [job["status"] for job in jobs] == ["succeeded"] * 2, jobs
    batches = _inputs(stub)
    assert sum(map(len, batches)) == sum(job["result"]["chunks"] for job in jobs) > BATCH_TEXTS
    tokens = [sum(len(text.encode()) + 2 for text in batch) for batch in batches]
    assert max(map(len, batches)) < BATCH_TEXTS
    assert 0.9 * BATCH_TOKENS < max(tokens) <= BATCH_TOKENS
    assert {request["model"] for request in stub.requests} == {MODEL}
    assert set(stub.keys) == {f"Bearer {KEY}"}
    assert stack.verify("batches")["consistent"]


def test_the_same_bytes_again_cost_no_request(animals: Stack, stub: OpenAIStub) -> None:
    data = pdfs.text_pdf(["Otters sleep in rafts.", "Herons stand on one leg."])

    again = animals.upload("animals", "animals.pdf", data)

    assert again["unchanged"]
    assert animals.finished_job(again["job_id"])["status"] == "succeeded"
    assert stub.requests == []


def test_an_answer_streams_and_cites_only_what_was_given(animals: Stack, stub: OpenAIStub) -> None:
    stub.answer(Reply(), Reply(pieces=("Otters ", "sleep in ", "rafts [", "2", "] and [7", "] more [1]."), gate=_set()))

    with _streamed(animals) as reply:
        events = _events(reply)

    kinds = [kind for kind, _ in events]
    assert kinds[-3:] == ["citation", "usage", "done"]
    text = "".join(data["text"] for kind, data in events if kind == "token")
    assert text == "Otters sleep in rafts [1] and more [2]."
    prompt = stub.requests[-1]["messages"][-1]["content"]
    citations = [data for kind, data in events if kind == "citation"]
    assert {citation["page"] for citation in citations} == {1, 2}
    assert all(citation["quote"] in prompt and citation["document"] == "animals.pdf" for citation in citations)
    assert events[-2][1] == {"prompt_tokens": 10, "completion_tokens": 4}
    assert events[-1][1] == {"state": "succeeded"}


def test_the_model_may_say_that_there_is_no_evidence(animals: Stack, stub: OpenAIStub) -> None:
    stub.answer(Reply(), Reply(pieces=("NO_", "EVIDENCE: ", "The documents ", "do not say [1].")))

    answer = animals.ask("animals", "Who won?")

    assert (answer["answered"], answer["citations"]) == (False, [])
    assert answer["answer"] == "The documents do not say."


def test_a_rate_limit_costs_one_batch_twice_and_nothing_else(stack: Stack, stub: OpenAIStub) -> None:
    stub.answer(Reply(), Reply(status=429, headers={"Retry-After": "2"}, body=b"{}"))

    started = time.monotonic()
    job = stack.ingest("limited", "long.pdf", pdfs.long_text_pdf(130, 11))

    assert (job["status"], job["attempts"]) == ("succeeded", 2), job
    assert time.monotonic() - started >= 2
    refused = _inputs(stub)[1]
    assert len(_inputs(stub)) > 3
    assert _embedded(stub) == {text: 2 if text in refused else 1 for text in _embedded(stub)}
    # What waited behind the refused batch was not sent before the second run.
    assert len(refused) <= job["result"]["embedded"] <= 2 * len(refused)
    assert job["error"] is None
    assert stack.verify("limited")["consistent"]


def test_failures_and_silence_are_waited_out(stack: Stack, stub: OpenAIStub) -> None:
    never = Event()
    stub.answer(Reply(status=500, body=b"oops"), Reply(gate=never))
    try:
        job = stack.ingest("unsteady", "note.pdf", pdfs.text_pdf(["A note for a model that wavers."]))
    finally:
        never.set()

    assert (job["status"], job["attempts"]) == ("succeeded", 3), job
    assert len(stub.requests) == 3


def test_a_wrong_number_of_vectors_ends_the_job(stack: Stack, stub: OpenAIStub) -> None:
    stub.answer(Reply(edit=_only_vectors))

    submission = stack.upload("wrong", "note.pdf", pdfs.text_pdf(["One page.", "Another page."]))
    job = stack.finished_job(submission["job_id"])

    assert (job["status"], job["error"]["code"], job["attempts"]) == ("failed", "dependency_protocol", 1)
    assert "1 vectors for 2 texts" in job["error"]["detail"]
    document = stack.client.get(f"/v1/documents/{submission['document_id']}").json()
    assert (document["state"], document["chunks"], document["version"]) == ("failed", 0, 0)
    report = stack.verify("wrong")
    assert (report["consistent"], report["documents"], report["chunks"]) == (True, 1, 0)


def test_a_refused_key_ends_the_job_at_once_and_a_new_upload_begins_anew(stack: Stack, stub: OpenAIStub) -> None:
    data = pdfs.text_pdf(["A page that nobody could embed."])
    stub.answer(Reply(status=401, body=LEAKY))

    job = stack.ingest("refused", "note.pdf", data)

    assert (job["status"], job["error"]["code"], job["attempts"]) == ("failed", "dependency_rejected", 1)
    assert len(stub.requests) == 1
    assert stack.ingest("refused", "note.pdf", data)["status"] == "succeeded"


def test_a_question_that_is_refused_is_502(animals: Stack, stub: OpenAIStub) -> None:
    stub.answer(Reply(), Reply(status=401, body=LEAKY))

    reply = animals.client.post("/v1/collections/animals/queries", json={"question": "How?"})

    assert (reply.status_code, reply.json()["code"]) == (502, "dependency_rejected")
    assert len(stub.requests) == 2


@pytest.mark.parametrize("down", [Reply(status=503, body=b"down"), Reply(breaks_off=True)], ids=["503", "broken"])
def test_a_chat_model_that_is_down_is_503_in_bounded_time(animals: Stack, stub: OpenAIStub, down: Reply) -> None:
    stub.answer(*[Reply(), down] * 3)

    started = time.monotonic()
    reply = animals.client.post("/v1/collections/animals/queries", json={"question": "How?"})

    assert (reply.status_code, reply.json()["code"], reply.json()["retryable"]) == (503, "attempts_exhausted", True)
    assert reply.headers["retry-after"]
    assert "openai" in reply.json()["detail"]
    assert time.monotonic() - started < 15


def test_a_reader_who_leaves_ends_the_model_s_work(animals: Stack, stub: OpenAIStub) -> None:
    stub.answer(Reply(), Reply(pieces=["word "] * 500_000))

    with _streamed(animals) as reply:
        job_path = reply.headers["location"]
        assert any(line == "event: token" for line in reply.iter_lines())

    assert stub.given_up.wait(15)
    wait_until(lambda: animals.client.get(job_path).json()["status"] == "cancelled", timeout_seconds=10)


def test_the_key_is_nowhere_to_be_found(animals: Stack, stub: OpenAIStub) -> None:
    stub.answer(Reply(status=401, body=LEAKY))
    animals.ingest("secrets", "a.pdf", pdfs.text_pdf(["A page."]))
    stub.answer(Reply(status=429, headers={"Retry-After": "0.1"}, body=LEAKY))
    animals.ingest("secrets", "b.pdf", pdfs.text_pdf(["Another page."]))
    stub.answer(Reply(), Reply(status=400, body=LEAKY))
    refused = animals.client.post("/v1/collections/animals/queries", json={"question": "How?"})

    assert len(stub.keys) >= 5
    assert set(stub.keys) == {f"Bearer {KEY}"}
    values = _all_values(animals.redis_url)
    jobs = {key.split(":")[2] for key in values if key.startswith("ragline:job:")}
    documents = {key.split(":")[2] for key in values if key.startswith("ragline:doc:")}
    replies = [refused.text, *(animals.client.get(f"/v1/jobs/{job}").text for job in jobs)]
    replies += [animals.client.get(f"/v1/jobs/{job}/events").text for job in jobs]
    replies += [animals.client.get(f"/v1/documents/{document}").text for document in documents]
    logs = {str(path): path.read_text(errors="replace") for path in animals.folder.rglob("*.log")}
    assert {Path(path).stem for path in logs} >= {"api", "rag", "vectorstore", "document", "default", "valkey"}
    assert "step failed" in logs[str(animals.folder / "vectorstore.log")]
    assert [path for path, text in logs.items() if KEY in text] == []
    assert [key for key, value in values.items() if KEY in key + value] == []
    assert [reply for reply in replies if KEY in reply] == []


def test_a_collection_of_another_embedding_space_is_refused(animals: Stack, stub: OpenAIStub) -> None:
    originals = animals.folder / "objects" / "originals"
    before = set(originals.iterdir())
    with _second_api(animals) as client:
        upload = client.post("/v1/collections/animals/documents", files={"file": ("b.pdf", pdfs.text_pdf(["x"]))})
        question = client.post("/v1/collections/animals/queries", json={"question": "How?"})
        old = {"question": "How?", "persist_directory": "animals"}
        replies = [upload, question, client.post("/rag/query", json=old), client.post("/rag/query/sync", json=old)]

    for reply in replies:
        assert (reply.status_code, reply.json()["code"]) == (409, "embedding_space_mismatch")
        assert f"openai/{MODEL}" in reply.json()["detail"]
        assert f"openai/{OTHER_MODEL}" in reply.json()["detail"]
    assert set(originals.iterdir()) == before
    assert stub.requests == []


def test_three_hundred_pages_can_be_asked_within_seconds(stack: Stack, stub: OpenAIStub) -> None:
    data = pdfs.long_text_pdf(300, 12)

    started = time.monotonic()
    job = stack.ingest("thick", "book.pdf", data)
    ingested = time.monotonic() - started
    answer = stack.ask("thick", "Where is the glacier?")
    seconds = time.monotonic() - started

    assert (job["status"], job["result"]["pages"]) == ("succeeded", 300), job
    assert answer["citations"]
    assert max(_embedded(stub).values()) == 1
    print(  # noqa: T201 - a measurement for the log
        f"300 pages, {job['result']['chunks']} chunks: indexed after {ingested:.1f} s, answered after {seconds:.1f} s"
    )
    assert seconds < 30


def _all_values(url: str) -> dict[str, str]:
    """Everything that Redis holds, as text by key."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        whole: Any = client
        read = {
            "string": whole.get,
            "hash": whole.hgetall,
            "list": lambda key: whole.lrange(key, 0, -1),
            "set": whole.smembers,
            "zset": lambda key: whole.zrange(key, 0, -1),
            "stream": whole.xrange,
        }
        values = {key: str(read[whole.type(key)](key)) for key in list(whole.scan_iter()) if whole.exists(key)}
    assert len(values) > 10
    return values


@contextmanager
def _second_api(stack: Stack) -> Iterator[httpx2.Client]:
    """An API of another release on the same stores: it embeds with another model."""
    port = free_port()
    env = {
        "REDIS_URL": stack.redis_url,
        "CHROMA_URL": stack.chroma_url,
        "OBJECT_STORE_URL": f"file://{stack.folder}/objects",
        "EMBEDDER": "openai",
        "EMBEDDING_MODEL": OTHER_MODEL,
        "RATE_LIMIT_GENERAL_PER_MINUTE": "0",
        "RATE_LIMIT_RAG_PER_MINUTE": "0",
    }
    serve = python("-m", "uvicorn", "ragline.api.main:create_app", "--factory", "--port", str(port))
    api = Process(serve, log=stack.folder / "api-2.log", env=env)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            api.wait_ready(lambda: _answers(client))
            yield client
    finally:
        api.stop()


def _answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx2.HTTPError:
        return False


def _set() -> Event:
    gate = Event()
    gate.set()
    return gate
