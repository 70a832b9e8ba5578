import pytest
from typing_extensions import override

from ragline.common.questions import Question
from ragline.pipeline.generators.extractive import ExtractiveGenerator
from ragline.pipeline.generators.prompts import NO_ANSWER_TEXT
from ragline.stores.protocols import Vector
from tests.support.passages import WordEmbedder, make_passage

LEAVE = (
    "4.6 Parental leave\nWelcoming a child is the same event in every family. Each parent receives 26 weeks of\n"
    "parental leave on full pay. Tell your manager ten weeks before."
)
QUESTION = "How many weeks of parental leave does a parent receive?"
ASKED = Question(text=QUESTION, top_k=3)


class CountingEmbedder(WordEmbedder):
    """Counts the texts it is given besides the question."""

    texts = 0

    @override
    def embed_query(self, text: str) -> Vector:
        self.texts += text != QUESTION
        return super().embed_query(text)


@pytest.fixture
def generator() -> ExtractiveGenerator:
    return ExtractiveGenerator(WordEmbedder())


def test_best_sentence_is_the_answer_and_cited_where_it_stands(generator: ExtractiveGenerator) -> None:
    passage = make_passage(LEAVE, page=19, start=40)
    tokens: list[str] = []
    answer = generator.run(question=ASKED, passages=[passage], on_token=tokens.append)
    assert answer.answered
    assert answer.text == "Each parent receives 26 weeks of parental leave on full pay. [1]"
    assert "".join(tokens) == answer.text
    assert len(tokens) == len(answer.text.split())
    (citation,) = answer.citations
    assert citation.quote == "Each parent receives 26 weeks of\nparental leave on full pay."
    assert (" " * 40 + LEAVE)[citation.start : citation.end] == citation.quote
    assert (citation.page, citation.document, citation.chunk_id) == (19, passage.document, passage.chunk_id)


def test_two_sentences_that_are_as_good_are_both_said(generator: ExtractiveGenerator) -> None:
    passages = [
        make_passage("Each parent receives 26 weeks of parental leave. The canteen opens at noon."),
        make_passage("Each parent receives 30 weeks of parental leave.", document="old.pdf", page=2),
    ]
    answer = generator.run(question=ASKED, passages=passages, on_token=lambda _: None)
    assert answer.text == (
        "Each parent receives 26 weeks of parental leave. [1] Each parent receives 30 weeks of parental leave. [2]"
    )
    assert [citation.document for citation in answer.citations] == ["handbook.pdf", "old.pdf"]


def test_sentence_in_the_overlap_of_two_chunks_is_said_once(generator: ExtractiveGenerator) -> None:
    sentence = "Each parent receives 26 weeks of parental leave."
    passages = [make_passage(f"The canteen opens at noon. {sentence}"), make_passage(sentence, start=27)]
    answer = generator.run(question=ASKED, passages=passages, on_token=lambda _: None)
    assert answer.text == f"{sentence} [1]"


def test_heading_does_not_beat_the_sentence_below_it(generator: ExtractiveGenerator) -> None:
    text = "Weeks parental leave a parent receives\n\nIt is 26 weeks of parental leave for a parent."
    answer = generator.run(question=ASKED, passages=[make_passage(text)], on_token=lambda _: None)
    assert answer.text.startswith("It is 26 weeks")


def test_row_of_a_table_is_an_answer(generator: ExtractiveGenerator) -> None:
    rows = [
        "E-05 Motor speed unstable",
        "E-06 Torque above 100 per cent",
        "E-07 Zero offset too large",
        "E-08 No probe",
    ]
    passage = make_passage("\n".join(rows), start=10)
    answer = generator.run(
        question=Question(text="What is E-06?", top_k=3), passages=[passage], on_token=lambda _: None
    )
    assert answer.text == "E-06 Torque above 100 per cent [1]"


@pytest.mark.parametrize("texts", [(), ("The canteen opens at noon.",), ("...",), ("",)])
def test_nothing_relevant_is_said_plainly(generator: ExtractiveGenerator, texts: tuple[str, ...]) -> None:
    tokens: list[str] = []
    passages = [make_passage(text, score=0.5) for text in texts]
    answer = generator.run(question=ASKED, passages=passages, on_token=tokens.append)
    assert not answer.answered
    assert answer.text == "".join(tokens) == NO_ANSWER_TEXT
    assert answer.citations == ()


def test_long_passages_are_read_up_to_a_bound() -> None:
    embedder = CountingEmbedder()
    text = " ".join(f"Sentence number {number} is here." for number in range(1000))
    ExtractiveGenerator(embedder).run(question=ASKED, passages=[make_passage(text)], on_token=lambda _: None)
    assert embedder.texts == 96


def test_parameters_of_a_chat_model_change_nothing(generator: ExtractiveGenerator) -> None:
    asked = Question(text=QUESTION, top_k=3, model="any", temperature=2.0, max_tokens=1)
    answers = [
        generator.run(question=question, passages=[make_passage(LEAVE)], on_token=lambda _: None)
        for question in (ASKED, asked)
    ]
    assert answers[0] == answers[1]
    assert not answers[0].truncated


def test_fingerprint_names_the_kind_and_the_space(generator: ExtractiveGenerator) -> None:
    assert generator.fingerprint == "extractive:test/words"
