"""The committed sample PDFs are what the generator makes, and the sample questions are answered where they say."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pypdfium2 as pdfium
import pytest

SAMPLES_DIR = Path(__file__).resolve().parents[3] / "samples"

DOCUMENT_NAMES = ("annual-report.pdf", "device-manual.pdf", "employee-handbook.pdf")

QUESTIONS_MINIMUM_COUNT = 15

GENERATOR_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One entry of `questions.json`; `page` counts from 1."""

    document: str
    question: str
    page: int
    answer_contains: tuple[str, ...]

    def is_answered_by(self, page_text: str) -> bool:
        """Whether one sentence of the page holds all expected parts of the answer."""
        parts = [part.lower() for part in self.answer_contains]
        return any(all(part in sentence for part in parts) for sentence in _sentences(page_text))


def _questions() -> list[Question]:
    entries = json.loads((SAMPLES_DIR / "questions.json").read_text(encoding="utf-8"))
    return [Question(**{**entry, "answer_contains": tuple(entry["answer_contains"])}) for entry in entries]


@cache
def _page_texts(document_name: str) -> tuple[str, ...]:
    with closing(pdfium.PdfDocument(SAMPLES_DIR / document_name)) as document:
        return tuple(page.get_textpage().get_text_range() for page in document)


def _sentences(text: str) -> Iterator[str]:
    """Split a text into lower-case sentences, whatever its line breaks."""
    yield from (sentence.lower() for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", " ".join(text.split())))


@pytest.fixture(scope="module")
def regenerated_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory with freshly generated PDFs."""
    output_dir = tmp_path_factory.mktemp("samples")
    command = [sys.executable, str(SAMPLES_DIR / "generate.py"), "--output", str(output_dir)]
    subprocess.run(command, check=True, capture_output=True, timeout=GENERATOR_TIMEOUT_SECONDS)
    return output_dir


def test_generator_makes_exactly_the_committed_documents(regenerated_dir: Path) -> None:
    assert sorted(path.name for path in regenerated_dir.iterdir()) == sorted(DOCUMENT_NAMES)
    assert sorted(path.name for path in SAMPLES_DIR.glob("*.pdf")) == sorted(DOCUMENT_NAMES)


@pytest.mark.parametrize("document_name", DOCUMENT_NAMES)
def test_regenerated_document_is_byte_identical(regenerated_dir: Path, document_name: str) -> None:
    assert (regenerated_dir / document_name).read_bytes() == (SAMPLES_DIR / document_name).read_bytes()


@pytest.mark.parametrize(
    ("document_name", "fewest_pages", "most_pages"),
    [("annual-report.pdf", 6, 10), ("device-manual.pdf", 8, 12), ("employee-handbook.pdf", 40, 80)],
)
def test_document_has_expected_length(document_name: str, fewest_pages: int, most_pages: int) -> None:
    assert fewest_pages <= len(_page_texts(document_name)) <= most_pages


def test_pages_of_a_document_have_different_texts() -> None:
    """A page which repeats another one would make its citations ambiguous."""
    for document_name in DOCUMENT_NAMES:
        texts = _page_texts(document_name)
        assert len(set(texts)) == len(texts)


def test_there_are_questions_for_every_document() -> None:
    questions = _questions()
    assert len(questions) >= QUESTIONS_MINIMUM_COUNT
    assert {question.document for question in questions} == set(DOCUMENT_NAMES)


def test_first_question_suits_a_demo() -> None:
    """The first question is shown to newcomers: it comes from the long document and not from its first page."""
    first = _questions()[0]
    assert first.document == "employee-handbook.pdf"
    assert first.page > 1


@pytest.mark.parametrize("question", _questions(), ids=lambda question: question.question)
def test_question_is_answered_on_its_page_only(question: Question) -> None:
    texts = _page_texts(question.document)
    pages = [number for number, text in enumerate(texts, 1) if question.is_answered_by(text)]
    assert pages == [question.page]


@pytest.mark.parametrize("question", _questions(), ids=lambda question: question.question)
def test_question_is_not_a_copy_of_the_answer(question: Question) -> None:
    page_text = " ".join(_page_texts(question.document)[question.page - 1].split())
    assert question.question.rstrip("?").lower() not in page_text.lower()
