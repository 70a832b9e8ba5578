import io
from collections.abc import Iterable

import httpx2
import pytest
from rich.console import Console

from ragline.cli.asking import print_citations, read_answer
from ragline.cli.failures import ApiFailure
from ragline.cli.replies import Answer, Citation

QUOTE = {"document": "a.pdf", "page": 17, "quote": "twenty  [six]\nweeks", "start": 0, "end": 9, "document_id": "doc_1"}


def stream(*pairs: tuple[str, str]) -> Iterable[httpx2.ServerSentEvent]:
    return [httpx2.ServerSentEvent(event=kind, data=data) for kind, data in pairs]


def console() -> tuple[Console, io.StringIO]:
    screen = io.StringIO()
    return Console(file=screen, width=40), screen


def test_tokens_are_printed_as_they_are() -> None:
    out, screen = console()
    pairs = [("token", '{"text": "It is [b]26"}'), ("token", '{"text": " weeks."}'), ("done", '{"state": "succeeded"}')]
    answer = read_answer(stream(("progress", '{"step": "answer", "attempt": 1}'), *pairs), out)
    assert answer.text == "It is [b]26 weeks."
    assert screen.getvalue() == "It is [b]26 weeks.\n"


def test_citations_are_listed_with_document_and_page() -> None:
    out, screen = console()
    print_citations(Answer(text="", citations=(Citation.model_validate(QUOTE),)), out)
    assert screen.getvalue().strip() == '[1] a.pdf, page 17: "twenty [six] weeks"'


def test_no_citation_means_no_evidence() -> None:
    out, screen = console()
    print_citations(Answer(text="Nothing found.", citations=()), out)
    assert "no evidence" in " ".join(screen.getvalue().split())


def test_a_second_attempt_begins_the_answer_anew() -> None:
    out, screen = console()
    pairs = [
        ("token", '{"text": "half an ans"}'),
        ("progress", '{"step": "answer", "attempt": 2}'),
        ("token", '{"text": "whole answer"}'),
        ("usage", '{"prompt_tokens": 3}'),
        ("done", '{"state": "succeeded"}'),
    ]
    assert read_answer(stream(*pairs), out).text == "whole answer"
    assert "begins anew" in screen.getvalue()


def test_a_failed_question_is_one_sentence() -> None:
    failed = stream(
        ("error", '{"code": "attempts_exhausted", "detail": "step answer"}'), ("done", '{"state": "failed"}')
    )
    with pytest.raises(ApiFailure, match=r"step answer \(code attempts_exhausted\)"):
        read_answer(failed, console()[0])


def test_a_failed_question_names_its_job() -> None:
    failed = stream(("job", "job_1"), ("error", '{"code": "attempts_exhausted"}'))
    with pytest.raises(ApiFailure, match=r"\(code attempts_exhausted, job job_1\)"):
        read_answer(failed, console()[0])


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([("done", '{"state": "cancelled"}')], "was cancelled"),
        ([("token", '{"text": "a"}')], "ended before"),
        ([("citation", "{}")], "not understood"),
        ([("token", "broken")], "ended before"),
    ],
)
def test_a_stream_that_does_not_end_well_is_a_failure(pairs: list[tuple[str, str]], said: str) -> None:
    with pytest.raises(ApiFailure, match=said):
        read_answer(stream(*pairs), console()[0])
