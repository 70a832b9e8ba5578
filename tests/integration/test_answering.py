"""Questions with all that shapes their answers, through a real worker and a model that answers by script."""

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
import redis.asyncio

from ragline.common.constants import DEFAULT_TENANT, EMBED_JOB_RETENTION
from ragline.common.identifiers import embedding_space
from ragline.common.questions import Question, Turn
from ragline.common.queues import JobKind
from ragline.common.trace_context import new_trace
from ragline.stores.ledger.accepting import AcceptLedger, NewJob
from ragline.stores.ledger.keys import job_key, metadata_key
from tests.support import pdfs
from tests.support.openai_stub import OpenAIStub, Reply, vector_of
from tests.support.stack import Stack, running_stack

MODEL = "stub-embed-3"
TEMPLATE = "You are a parrot. No answer: {no_evidence}. Documents stand between {fence}."


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, stub_server: OpenAIStub) -> Iterator[Stack]:
    """A service whose models are the stub, with a template of its own and two documents."""
    folder: Path = tmp_path_factory.mktemp("answering")
    template = folder / "prompt.txt"
    template.write_text(TEMPLATE, encoding="utf-8")
    settings = {
        "EMBEDDER": "openai",
        "EMBEDDING_MODEL": MODEL,
        "LLM_MODEL": "stub-chat",
        "OPENAI_API_KEY": "sk-1",
        "OPENAI_BASE_URL": stub_server.url,
        "PROMPT_TEMPLATE": str(template),
    }
    with running_stack(folder, settings) as running:
        for name, text in (("otters.pdf", "Otters sleep in rafts."), ("herons.pdf", "Herons stand on one leg.")):
            job = running.ingest("animals", name, pdfs.text_pdf([text]))
            _describe(running, job["result"]["document_id"], f'{{"name": "{name}"}}')
        yield running


def _describe(stack: Stack, document_id: str, metadata: str) -> None:
    """Metadata as a commit leaves them."""
    with redis.Redis.from_url(stack.redis_url) as client:
        client.hset(metadata_key(DEFAULT_TENANT, "animals"), document_id, metadata)


def _submit(stack: Stack, kind: JobKind, params: dict[str, Any], collection: str = "") -> tuple[str, dict[str, Any]]:
    """Id and result of the finished job."""

    async def accept() -> str:
        async with redis.asyncio.Redis.from_url(stack.redis_url, decode_responses=True) as client:
            space = embedding_space("openai", MODEL) if collection else ""
            new = NewJob(tenant=DEFAULT_TENANT, kind=kind, params=params, collection=collection, space=space)
            return (await AcceptLedger(client).accept_job(new, new_trace())).job_id

    job_id = asyncio.run(accept())
    job = stack.finished_job(job_id)
    assert job["status"] == "succeeded", job
    return job_id, job["result"]


def _ask(stack: Stack, question: Question) -> dict[str, Any]:
    return _submit(stack, JobKind.QUERY, question.to_params(), "animals")[1]


def _chats(stub: OpenAIStub) -> list[dict[str, Any]]:
    return [request for request in stub.requests if "messages" in request]


def test_parameters_and_earlier_turns_shape_the_answer(stack: Stack, stub: OpenAIStub) -> None:
    history = (Turn(role="user", text="How do otters sleep?"), Turn(role="assistant", text="In rafts [1]."))
    stub.answer(
        Reply(pieces=("How do herons sleep?",), usage={"prompt_tokens": 50, "completion_tokens": 6}),
        Reply(),
        Reply(pieces=("They stand", " on one leg"), finish_reason="length"),
    )

    result = _ask(
        stack,
        Question(text="And herons?", top_k=2, history=history, model="other-chat", temperature=0.25, max_tokens=11),
    )

    rewrite, answer = _chats(stub)
    assert [request.get("input") for request in stub.requests] == [None, ["How do herons sleep?"], None]
    assert (rewrite["model"], rewrite["temperature"]) == ("stub-chat", 0)
    assert "And herons?" in rewrite["messages"][-1]["content"]
    assert (answer["model"], answer["temperature"], answer["max_tokens"]) == ("other-chat", 0.25, 11)
    assert answer["messages"][0]["content"].startswith("You are a parrot. No answer: NO_EVIDENCE. Documents stand")
    assert answer["messages"][-1]["content"].endswith("Question: How do herons sleep?")
    assert (result["answer"], result["answered"], result["truncated"]) == ("They stand on one leg", True, True)
    assert result["usage"] == {"prompt_tokens": 60, "completion_tokens": 10}


def test_a_filter_decides_what_the_model_is_given(stack: Stack, stub: OpenAIStub) -> None:
    result = _ask(stack, Question(text="Who sleeps?", top_k=5, filter={"name": "herons.pdf"}))

    (chat,) = _chats(stub)
    assert "Herons stand" in chat["messages"][-1]["content"]
    assert "Otters" not in chat["messages"][-1]["content"]
    assert [citation["document"] for citation in result["citations"]] == ["herons.pdf"]


def test_a_filter_that_nothing_meets_costs_no_model(stack: Stack, stub: OpenAIStub) -> None:
    result = _ask(stack, Question(text="Who sleeps?", top_k=5, filter={"name": "wolves.pdf"}))

    assert (result["answered"], result["citations"], stub.requests) == (False, [], [])


def test_texts_of_a_caller_are_embedded_and_soon_forgotten(stack: Stack, stub: OpenAIStub) -> None:
    texts = [f"text {number}" for number in range(130)]

    job_id, result = _submit(stack, JobKind.EMBED, {"texts": texts})

    assert (result["model"], result["dimensions"], result["usage"]) == (MODEL, 16, {"prompt_tokens": 2})
    for text, encoded in zip(texts, result["vectors"], strict=True):
        wanted = vector_of(text, 16)
        assert np.allclose(np.frombuffer(base64.b64decode(encoded), "<f4"), wanted / np.linalg.norm(wanted), atol=1e-6)
    assert sorted(len(request["input"]) for request in stub.requests) == [2, 128]
    with redis.Redis.from_url(stack.redis_url) as client:
        assert 0 < int(str(client.ttl(job_key(job_id)))) <= EMBED_JOB_RETENTION.total_seconds()
