"""What a call of a model says in its span: names, numbers, and texts only for who wants to see them."""

import json
from collections.abc import Iterator

import pytest

from ragline.common.errors import TransientError
from ragline.common.span_names import SpanKind
from ragline.common.spans import Span, Tracer, entered
from ragline.pipeline.chat_model import ChatModel, ChatOptions
from ragline.pipeline.embedders.openai import OpenAIEmbedder
from ragline.pipeline.generators.prompts import Prompt
from tests.support.openai_stub import OpenAIStub, Reply

PROMPT = Prompt(system="You are a zookeeper.", user="How do otters sleep?")
OPTIONS = ChatOptions(temperature=0.5, max_tokens=100)
CONTENT = {"gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.output.messages"}


@pytest.fixture(params=[False, True], ids=["ids", "texts"])
def wants_texts(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def delivered(wants_texts: bool) -> Iterator[list[Span]]:
    spans: list[Span] = []
    tracer = Tracer(ratio=1, content=wants_texts, deliver=spans.append)
    with entered(tracer.root("answer", SpanKind.CONSUMER)):
        yield spans


def _chat(stub: OpenAIStub) -> ChatModel:
    return ChatModel(base_url=stub.url, api_key="sk-1", model="stub-chat", timeout_seconds=5)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_chat_says_what_it_cost(delivered: list[Span], stub: OpenAIStub, wants_texts: bool, streamed: bool) -> None:
    stub.answer(Reply(pieces=("In ", "rafts.")))
    if streamed:
        list(_chat(stub).stream(PROMPT, OPTIONS, operation="chat"))
    else:
        _chat(stub).complete(PROMPT, OPTIONS, operation="rewrite")
    (span,) = delivered
    assert (span.name, span.kind) == ("chat stub-chat", SpanKind.CLIENT)
    assert {name: value for name, value in span.attributes.items() if name not in CONTENT} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "stub-chat",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 100,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 4,
    }
    assert CONTENT & span.attributes.keys() == (CONTENT if wants_texts else set())
    if wants_texts:
        assert json.loads(str(span.attributes["gen_ai.output.messages"])) == [
            {"role": "assistant", "parts": [{"type": "text", "content": "In rafts."}]}
        ]
        assert PROMPT.user in str(span.attributes["gen_ai.input.messages"])


def test_a_chat_that_failed_says_why_and_not_what_was_asked(
    delivered: list[Span], stub: OpenAIStub, wants_texts: bool
) -> None:
    stub.answer(Reply(status=503, body=PROMPT.user.encode()))
    with pytest.raises(TransientError):
        _chat(stub).complete(PROMPT, OPTIONS, operation="rewrite")
    (span,) = delivered
    assert (span.error, span.attributes["error.type"]) == ("dependency_unavailable", "dependency_unavailable")
    assert (PROMPT.user in str(span.attributes)) == wants_texts


def test_batches_in_other_threads_are_below_the_same_step(
    delivered: list[Span], stub: OpenAIStub, wants_texts: bool
) -> None:
    embedder = OpenAIEmbedder(
        base_url=stub.url, api_key="sk-1", model="stub", space="openai/stub", concurrency=4, timeout_seconds=5
    )
    texts = [f"Otter number {number} sleeps." for number in range(300)]
    assert sum(len(batch.vectors) for batch in embedder.stream(texts)) == 300
    embedder.close()
    assert [span.name for span in delivered] == ["embeddings stub"] * 3
    assert len({(span.trace_id, span.parent_id) for span in delivered}) == 1
    assert sorted(int(str(span.attributes["ragline.texts"])) for span in delivered) == [44, 128, 128]
    assert {span.attributes["gen_ai.embeddings.dimension.count"] for span in delivered} == {16}
    assert any("Otter" in str(span.attributes) for span in delivered) == wants_texts
