"""The sample questions, answered with the real model: retrieval, answer and refusal together."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium
import pytest
from langchain_text_splitters import RecursiveCharacterTextSplitter

from ragline.common.models import Answer, Passage
from ragline.common.questions import Question as Asked
from ragline.pipeline.embedders.local import LocalEmbedder
from ragline.pipeline.generators.extractive import ExtractiveGenerator
from ragline.pipeline.text import one_line
from tests.support.passages import make_passage

pytestmark = pytest.mark.slow

SAMPLES = Path(__file__).resolve().parents[4] / "samples"

TOP_K = 3

UNRELATED = [
    "What is the capital of Mongolia?",
    "How do I bake sourdough bread?",
    "Who won the football world cup in 1998?",
    "What is the boiling point of nitrogen?",
    "How many moons does Jupiter have?",
    "What is the best way to prune apple trees?",
    "Who wrote the novel Moby Dick?",
    "How do vaccines work?",
    "What are the rules of castling in chess?",
    "How far is the moon from the earth?",
    "When did the Roman Empire fall?",
    "How do I change the strings of a guitar?",
    "What is the population of Brazil?",
    "How does a suspension bridge carry its load?",
    "Which vitamins are in oranges?",
    "How do I renew my passport?",
    "What is the plot of Hamlet?",
    "How long do elephants live?",
    "What is the difference between HTTP and HTTPS?",
    "How do I remove red wine stains from a carpet?",
    "How tall is Mount Everest?",
    "What does a black hole look like?",
    "How do I train a puppy?",
    "Which planets have rings?",
    "Who painted the Mona Lisa?",
    "How is cheese made?",
    "What is the speed of light?",
    "When was the printing press invented?",
    "How do bees find flowers?",
    "What is a good recipe for lasagne?",
    "Who was the first person on the moon?",
    "How do I fix a flat bicycle tyre?",
    "What causes earthquakes?",
    "How many strings has a violin?",
    "What is the currency of Japan?",
    "How do I treat a sunburn?",
    "Which river flows through Paris?",
    "What is quantum entanglement?",
    "How do I tie a bow tie?",
    "Who composed the Four Seasons?",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    document: str
    question: str
    page: int
    answer_contains: tuple[str, ...]

    def is_answered_by(self, answer: Answer) -> bool:
        return all(part.lower() in answer.text.lower() for part in self.answer_contains)

    def is_on_page(self, passages: list[Passage]) -> bool:
        return any((passage.document, passage.page) == (self.document, self.page) for passage in passages)


QUESTIONS = [Question(**entry) for entry in json.loads((SAMPLES / "questions.json").read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def pages() -> dict[tuple[str, int], str]:
    texts = {}
    for path in sorted(SAMPLES.glob("*.pdf")):
        with closing(pdfium.PdfDocument(path)) as document:
            for number, page in enumerate(document, start=1):
                texts[path.name, number] = page.get_textpage().get_text_range().replace("\r\n", "\n")
    assert texts
    return texts


@pytest.fixture(scope="module")
def retrieve(pages: dict[tuple[str, int], str], minilm: LocalEmbedder) -> Callable[[str], list[Passage]]:
    """Exact search over chunks as the product makes them by default."""
    splitter = RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200, add_start_index=True)
    passages = [
        make_passage(chunk.page_content, document=name, page=number, start=chunk.metadata["start_index"])
        for (name, number), text in pages.items()
        for chunk in splitter.create_documents([text])
    ]
    vectors = np.vstack([batch.vectors for batch in minilm.stream([passage.text for passage in passages])])

    def nearest(question: str) -> list[Passage]:
        similarities = vectors @ minilm.embed_query(question)
        best = np.argsort(-similarities)[:TOP_K]
        return [replace(passages[index], score=float(1 + similarities[index]) / 2) for index in best]

    return nearest


@pytest.fixture(scope="module")
def ask(minilm: LocalEmbedder, retrieve: Callable[[str], list[Passage]]) -> Callable[[str], Answer]:
    generator = ExtractiveGenerator(minilm)
    return lambda question: generator.run(
        question=Asked(text=question, top_k=TOP_K), passages=retrieve(question), on_token=lambda _: None
    )


def test_the_right_page_is_found(retrieve: Callable[[str], list[Passage]]) -> None:
    found = [question.is_on_page(retrieve(question.question)) for question in QUESTIONS]
    assert np.mean(found) >= 0.95


def test_answers_hold_what_is_expected(ask: Callable[[str], Answer]) -> None:
    right = [question.is_answered_by(ask(question.question)) for question in QUESTIONS]
    assert np.mean(right) >= 0.9


def test_citations_quote_the_page_exactly(ask: Callable[[str], Answer], pages: dict[tuple[str, int], str]) -> None:
    for question in QUESTIONS:
        answer = ask(question.question)
        for citation in answer.citations:
            assert pages[citation.document, citation.page][citation.start : citation.end] == citation.quote
            assert one_line(citation.quote) in answer.text


@pytest.mark.parametrize("question", UNRELATED)
def test_other_subjects_are_not_answered(ask: Callable[[str], Answer], question: str) -> None:
    assert not ask(question).answered
