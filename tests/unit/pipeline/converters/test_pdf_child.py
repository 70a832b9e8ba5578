"""What comes of ordinary, odd and hostile files, each read by a real parser in its own process."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ragline.common import errors
from ragline.pipeline.converters import pdf_child
from ragline.pipeline.converters.pdf import Carry, Engine
from tests.support import pdfs
from tests.support.parsers import converter, never

Save = Callable[[bytes], Path]

ENGINES: tuple[Engine, ...] = ("pdfium", "pypdf")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("one\r\ntwo\rthree\x0cfour\x0bfive\n", "one\ntwo\nthree\nfour\nfive\n"),
        ("exam\ufffeple, co\x02operate", "example, cooperate"),
        ("a\x00b\x7fc\x1bd\te", "abcd\te"),
        ("\ud83d\ude00 and \ud83d alone", "\U0001f600 and  alone"),
        ("été \U0001d49c 日本", "été \U0001d49c 日本"),
        ("", ""),
    ],
    ids=["line breaks", "hyphens", "control characters", "surrogates", "unicode", "empty"],
)
def test_text_is_cleaned(raw: str, expected: str) -> None:
    assert pdf_child.clean(raw) == expected


@pytest.mark.parametrize("engine", ENGINES)
def test_reading_begins_where_it_is_told(engine: Engine, save: Save) -> None:
    result = converter(engine).run(save(pdfs.text_pdf(["one", "two", "three"])), first_page=2, should_stop=never)
    assert [(page.number, page.text.strip()) for page in result.pages] == [(2, "two"), (3, "three")]


def test_pdfium_joins_a_word_that_was_split_at_the_end_of_a_line(save: Save) -> None:
    result = converter("pdfium").run(save(pdfs.text_pdf(["an exam-\nple of this"])), should_stop=never)
    assert result.pages[0].text == "an example of this"


@pytest.mark.parametrize("engine", ENGINES)
def test_pages_are_read_in_order(engine: Engine, save: Save) -> None:
    result = converter(engine).run(save(pdfs.text_pdf(["One (1)", "", "Trois été"])), should_stop=never)
    assert [(page.number, page.text.strip()) for page in result.pages] == [(1, "One (1)"), (2, ""), (3, "Trois été")]
    assert (result.page_count, result.next_page, result.engine) == (3, None, engine)
    assert 0 < result.carry.cpu_seconds < 2
    assert result.carry.text_bytes == sum(len(page.text.encode()) for page in result.pages)


def test_engines_agree_on_simple_text(save: Save) -> None:
    path = save(pdfs.long_text_pdf(4, seed=1))
    first, second = (converter(engine).run(path, should_stop=never) for engine in ENGINES)
    assert [page.text.split() for page in first.pages] == [page.text.split() for page in second.pages]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_user_password_is_no_obstacle(engine: Engine, save: Save) -> None:
    result = converter(engine).run(save(pdfs.owner_locked_pdf()), should_stop=never)
    assert "Everyone may read this page" in result.pages[0].text


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (pdfs.encrypted_pdf("secret"), errors.Encrypted),
        (pdfs.truncated_pdf(), errors.MalformedPdf),
        (pdfs.header_only_pdf(), errors.MalformedPdf),
        (pdfs.not_a_pdf(), errors.MalformedPdf),
        (pdfs.page_tree_loop_pdf(), errors.MalformedPdf),
        (b"", errors.MalformedPdf),
    ],
    ids=["encrypted", "truncated", "header only", "not a pdf", "loop", "empty"],
)
def test_an_unreadable_file_has_a_name(
    engine: Engine, content: bytes, expected: type[errors.DocumentError], save: Save
) -> None:
    with pytest.raises(expected):
        converter(engine).run(save(content), should_stop=never)


@pytest.mark.parametrize(
    ("content", "pages"), [(pdfs.image_only_pdf(), 1), (pdfs.whitespace_pdf(), 2), (pdfs.zero_page_pdf(), 0)]
)
def test_a_document_without_text_is_for_the_caller_to_judge(content: bytes, pages: int, save: Save) -> None:
    result = converter().run(save(content), should_stop=never)
    assert (result.page_count, result.next_page, len(result.pages)) == (pages, None, pages)
    assert not any(page.text.strip() for page in result.pages)


@pytest.mark.parametrize("build", [pdfs.fanout_bomb_pdf, pdfs.long_string_pdf])
def test_a_bomb_that_one_parser_survives_is_read(build: Callable[[], bytes], save: Save) -> None:
    result = converter().run(save(build()), should_stop=never)
    assert (len(result.pages), result.next_page) == (1, None)
    assert result.carry.text_bytes < 100


def test_a_bomb_for_both_parsers_ends_in_a_crash_of_the_child_only(save: Save) -> None:
    with pytest.raises(errors.ParserCrashed, match="Aborted"):
        converter().run(save(pdfs.flate_bomb_pdf()), should_stop=never)


@pytest.mark.parametrize("engine", ENGINES)
def test_too_many_pages(engine: Engine, save: Save) -> None:
    path = save(pdfs.text_pdf(["a"] * 4))
    assert len(converter(engine, max_pages=4).run(path, should_stop=never).pages) == 4
    with pytest.raises(errors.TooManyPages):
        converter(engine, max_pages=3).run(path, should_stop=never)


@pytest.mark.parametrize("engine", ENGINES)
def test_text_is_limited_over_all_pages_and_runs(engine: Engine, save: Save) -> None:
    path = save(pdfs.long_text_pdf(3, seed=2))
    total_bytes = converter(engine).run(path, should_stop=never).carry.text_bytes
    convert = converter(engine, max_text_bytes=total_bytes)
    assert convert.run(path, should_stop=never).next_page is None
    for carry, limit_bytes in ((Carry(text_bytes=1), total_bytes), (Carry(), total_bytes - 1), (Carry(), 100)):
        with pytest.raises(errors.TooLarge):
            converter(engine, max_text_bytes=limit_bytes).run(path, should_stop=never, carry=carry)


def test_cpu_time_is_limited_over_all_runs(save: Save) -> None:
    path = save(pdfs.operator_bomb_pdf())
    with pytest.raises(errors.ParserTimeout, match="1 CPU-seconds were used up"):
        converter(cpu_seconds=1, document_cpu_seconds=1).run(path, should_stop=never)
    with pytest.raises(errors.ParserTimeout, match="60 CPU-seconds were used up by page 7"):
        converter().run(path, first_page=7, should_stop=never, carry=Carry(cpu_seconds=59.5))
