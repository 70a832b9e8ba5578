import json
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest

from ragline.common.errors import DependencyError, ProtocolError, RejectedError, TransientError
from ragline.common.models import Answer, Passage
from ragline.common.questions import Question
from ragline.pipeline.chat_model import ChatModel
from ragline.pipeline.generators.chat import ChatGenerator
from ragline.pipeline.generators.prompts import NO_ANSWER_TEXT, NO_EVIDENCE, PromptTemplate
from tests.support.openai_stub import OpenAIStub, Reply
from tests.support.passages import make_passage

KEY = "sk-Very-Secret-1234"
QUESTION = "How long is parental leave?"
LEAVE = make_passage(
    "4.6 Parental leave\nWelcoming a child is the same event in every family. Each parent receives 26 weeks of\n"
    "parental leave on full pay. The leave is available from the first day.",
    page=19,
    start=100,
)
CLAIMS = make_passage("Expense claims must be handed in within 60 days. Use form EX-1.", page=29, start=7)
PASSAGES = (LEAVE, CLAIMS)


class Stop(Exception):
    pass


@pytest.fixture
def generator(stub: OpenAIStub) -> ChatGenerator:
    return connect(stub)


def connect(stub: OpenAIStub, *, timeout_seconds: float = 10) -> ChatGenerator:
    model = ChatModel(base_url=stub.url, api_key=KEY, model="stub-chat", timeout_seconds=timeout_seconds)
    return ChatGenerator(model=model, template=PromptTemplate())


def ask(
    generator: ChatGenerator,
    passages: tuple[Passage, ...] = PASSAGES,
    on_token: Callable[[str], None] | None = None,
    **parameters: Any,  # noqa: ANN401 - of `Question`
) -> tuple[Answer, list[str]]:
    tokens: list[str] = []
    asked = Question(text=QUESTION, top_k=3, **parameters)
    answer = generator.run(question=asked, passages=passages, on_token=on_token or tokens.append)
    return answer, tokens


def test_answer_is_streamed_cited_and_counted(stub: OpenAIStub, generator: ChatGenerator) -> None:
    stub.answer(Reply(pieces=("Each parent ", "gets 26 weeks", " [1].")))
    answer, tokens = ask(generator)
    assert answer.text == "Each parent gets 26 weeks [1]."
    assert answer.answered
    assert "".join(tokens) == answer.text
    assert len(tokens) > 1
    assert answer.usage == {"prompt_tokens": 10, "completion_tokens": 4}
    assert stub.keys == [f"Bearer {KEY}"]
    assert stub.requests[0]["stream_options"] == {"include_usage": True}
    assert stub.requests[0]["model"] == "stub-chat"


def test_citation_quotes_the_sentence_that_supports_the_statement(stub: OpenAIStub, generator: ChatGenerator) -> None:
    stub.answer(Reply(pieces=("Claims are due within 60 days. [2] Each parent", " receives 26 weeks of leave. [1]")))
    answer, _ = ask(generator)
    assert answer.text == "Claims are due within 60 days. [1] Each parent receives 26 weeks of leave. [2]"
    claims, leave = answer.citations
    assert claims.quote == "Expense claims must be handed in within 60 days."
    assert (claims.page, claims.start, claims.end) == (29, 7, 7 + len(claims.quote))
    assert leave.quote == "Each parent receives 26 weeks of\nparental leave on full pay."
    assert LEAVE.text[leave.start - LEAVE.start : leave.end - LEAVE.start] == leave.quote
    assert leave.chunk_id == LEAVE.chunk_id


def test_quote_is_the_beginning_when_no_sentence_fits(stub: OpenAIStub, generator: ChatGenerator) -> None:
    stub.answer(Reply(pieces=("Oui, sans doute [1].",)))
    text = "word " * 100
    answer, _ = ask(generator, (make_passage(text, start=50),))
    (citation,) = answer.citations
    assert (citation.start, citation.end) == (50, 249)
    assert citation.quote == text[:199]


@pytest.mark.parametrize(
    ("pieces", "text", "pages"),
    [
        (("It is so [7].",), "It is so.", []),
        (("It is so [0] or [3].",), "It is so or.", []),
        (("A [2, 1] B [1;9]",), "A [1][2] B [2]", [29, 19]),
        (("A [", "1", "]", " B [", "2", "]", "."), "A [1] B [2].", [19, 29]),
        (("A", " ", "[9", "]", "."), "A.", []),
        (("A [1] and [1] and [1][1]",), "A [1] and [1] and [1][1]", [19]),
        (("In [2024] and [a] and [",), "In [2024] and [a] and [", []),
        (
            (
                "List [1, ",
                "x]",
            ),
            "List [1, x]",
            [],
        ),
        (("  \n Hello [1] \n",), "Hello [1]", [19]),
        (("A [[7]1]",), "A [\u20261]", []),
        (("A [", "1", " [7", "]", "]", " B"), "A [1\u2026] B", []),
        (("A [1, [8][9]2] B [2]",), "A [1,\u20262] B [1]", [29]),
        (("A [[2]1]",), "A [[1]1]", [29]),
    ],
)
def test_only_markers_of_given_passages_stay(
    stub: OpenAIStub, generator: ChatGenerator, pieces: tuple[str, ...], text: str, pages: list[int]
) -> None:
    stub.answer(Reply(pieces=pieces))
    answer, tokens = ask(generator)
    assert answer.text == text
    assert "".join(tokens) == text
    assert [citation.page for citation in answer.citations] == pages


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ((NO_EVIDENCE,), NO_ANSWER_TEXT),
        ((NO_EVIDENCE, "\n\n"), NO_ANSWER_TEXT),
        (("NO_", "EVID", "ENCE", ": ", "Die Dokumente ", "sagen es nicht [1]."), "Die Dokumente sagen es nicht."),
        (("**NO_EVI", "DENCE**", " The documents do not say."), "The documents do not say."),
    ],
)
def test_no_evidence_is_said_without_the_word_for_it(
    stub: OpenAIStub, generator: ChatGenerator, pieces: tuple[str, ...], text: str
) -> None:
    stub.answer(Reply(pieces=pieces))
    answer, tokens = ask(generator)
    assert not answer.answered
    assert answer.text == text
    assert "".join(tokens) == text
    assert answer.citations == ()


@pytest.mark.parametrize("pieces", [("NO_",), ("NO_", "EVID")])
def test_no_evidence_is_understood_when_the_tokens_end_in_the_word(
    stub: OpenAIStub, generator: ChatGenerator, pieces: tuple[str, ...]
) -> None:
    stub.answer(Reply(pieces=pieces, finish_reason="length"))
    answer, tokens = ask(generator)
    assert (answer.answered, answer.text, tokens) == (False, NO_ANSWER_TEXT, [NO_ANSWER_TEXT])


@pytest.mark.parametrize("pieces", [("NO", " more than 60 days [2]."), ("N",), ("**Note** it [1]",), ("No.",)])
def test_answer_that_begins_like_the_word_is_an_answer(
    stub: OpenAIStub, generator: ChatGenerator, pieces: tuple[str, ...]
) -> None:
    stub.answer(Reply(pieces=pieces))
    answer, tokens = ask(generator)
    assert answer.answered
    assert "".join(tokens) == answer.text
    assert answer.text.startswith(pieces[0])


def test_without_passages_the_model_is_not_asked(stub: OpenAIStub, generator: ChatGenerator) -> None:
    answer, tokens = ask(generator, ())
    assert (answer.answered, answer.text, tokens) == (False, NO_ANSWER_TEXT, [NO_ANSWER_TEXT])
    assert stub.requests == []


def test_tokens_come_before_the_answer_is_complete(stub: OpenAIStub, generator: ChatGenerator) -> None:
    gate = Event()
    stub.answer(Reply(pieces=("Early words", " and late ones."), gate=gate))

    def on_token(_: str) -> None:
        gate.set()

    answer, _ = ask(generator, on_token=on_token)
    assert answer.text == "Early words and late ones."


def test_stopping_the_stream_lets_go_of_the_model(stub: OpenAIStub, generator: ChatGenerator) -> None:
    stub.answer(Reply(pieces=("one ", "two ", "three"), gate=Event()))

    def stop(_: str) -> None:
        raise Stop

    with pytest.raises(Stop) as caught:
        ask(generator, on_token=stop)
    assert stub.given_up.wait(10)
    assert caught.value.__traceback__, "the frames are alive: nobody but the generator let go"


def test_parameters_of_the_question_reach_the_model(stub: OpenAIStub, generator: ChatGenerator) -> None:
    ask(generator, model="other-chat", temperature=0.0, max_tokens=7)
    request = stub.requests[0]
    assert (request["model"], request["temperature"], request["max_tokens"]) == ("other-chat", 0.0, 7)
    assert "max_completion_tokens" not in request, "compatible servers pass over it"


def test_what_the_question_leaves_open_is_the_service_s_affair(stub: OpenAIStub, generator: ChatGenerator) -> None:
    ask(generator, model="other-chat", temperature=1.5, max_tokens=7)
    ask(generator)
    assert stub.requests[1]["model"] == "stub-chat"
    assert not {"temperature", "max_tokens", "max_completion_tokens"} & stub.requests[1].keys()


def test_answer_cut_off_at_its_bound_is_an_answer(stub: OpenAIStub, generator: ChatGenerator) -> None:
    stub.answer(Reply(pieces=("Each parent gets 26", " weeks [1]"), finish_reason="length"))
    answer, tokens = ask(generator, max_tokens=7)
    assert (answer.truncated, answer.answered) == (True, True)
    assert answer.text == "".join(tokens) == "Each parent gets 26 weeks [1]"
    assert [citation.page for citation in answer.citations] == [19]
    assert not ask(generator)[0].truncated


def test_fingerprint_names_model_and_prompt(generator: ChatGenerator) -> None:
    assert generator.fingerprint == f"chat:stub-chat:{PromptTemplate().version}"


def test_service_that_counts_nothing_gives_no_usage(stub: OpenAIStub, generator: ChatGenerator) -> None:
    stub.answer(Reply(usage=None))
    assert ask(generator)[0].usage == {}


def event(content: str) -> bytes:
    return f"data: {content}\n\n".encode()


def stream(*contents: str) -> Reply:
    return Reply(body=b"".join(map(event, contents)), media_type="text/event-stream")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        pytest.param(Reply(status=429, headers={"retry-after": "3"}), TransientError, id="rate limit"),
        pytest.param(Reply(status=500), TransientError, id="500"),
        pytest.param(Reply(breaks_off=True), TransientError, id="broken connection"),
        pytest.param(Reply(finish_reason=None), TransientError, id="no end"),
        pytest.param(
            stream('{"error": {"message": "overloaded", "code": "server_error"}}'), TransientError, id="in stream"
        ),
        pytest.param(Reply(status=401), RejectedError, id="401"),
        pytest.param(Reply(status=404), RejectedError, id="404"),
        pytest.param(Reply(finish_reason="content_filter"), RejectedError, id="content filter"),
        pytest.param(Reply(pieces=(), finish_reason="length"), RejectedError, id="no room for text"),
        pytest.param(Reply(pieces=()), ProtocolError, id="no text"),
        pytest.param(Reply(pieces=("  ", "\n")), ProtocolError, id="white space"),
        pytest.param(Reply(body=b"<html></html>", media_type="text/html"), ProtocolError, id="html"),
        pytest.param(stream("{broken"), ProtocolError, id="broken JSON"),
        pytest.param(stream("[]"), ProtocolError, id="list"),
        pytest.param(stream('{"choices": [{}]}'), ProtocolError, id="choice of nothing"),
        pytest.param(stream("[DONE]"), ProtocolError, id="nothing"),
    ],
)
def test_failure_says_whether_to_try_again(
    stub: OpenAIStub, generator: ChatGenerator, reply: Reply, kind: type[DependencyError]
) -> None:
    stub.answer(reply)
    with pytest.raises(DependencyError) as caught:
        ask(generator)
    assert type(caught.value) is kind
    assert len(stub.requests) == 1, "the ledger retries, not the client"


def test_silence_is_transient(stub: OpenAIStub) -> None:
    gate = Event()
    stub.answer(Reply(gate=gate))
    with pytest.raises(TransientError, match="no answer in time"):
        ask(connect(stub, timeout_seconds=0.1))
    gate.set()


def test_error_names_neither_key_nor_question_nor_passage(stub: OpenAIStub, generator: ChatGenerator) -> None:
    said = f"{KEY} {QUESTION} {LEAVE.text}"
    body = json.dumps({"error": {"message": said, "code": KEY, "type": said}}).encode()
    stub.answer(Reply(status=400, body=body))
    with pytest.raises(RejectedError) as caught:
        ask(generator)
    assert caught.value.detail == "openai chat: HTTP 400"
    assert caught.value.__suppress_context__
