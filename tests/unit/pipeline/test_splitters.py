"""Chunks are exact pieces of their page and have ids that only depend on what they say."""

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from langchain_text_splitters.character import RecursiveCharacterTextSplitter

from ragline.common.errors import InternalError
from ragline.common.models import Chunk, Page
from ragline.pipeline import splitters
from ragline.pipeline.splitters import PageSplitter

WORDS = st.text(min_size=1, max_size=12)

BLANKS = st.sampled_from([" ", "  ", "\n", "\n\n", "\n \n\n", "\t", "\u00a0", "\u2003", "\u2028", ""])

LONG_RUNS = st.builds(lambda char, length: char * length, st.characters(), st.integers(min_value=20, max_value=300))

REPEATED_LINES = st.builds(
    lambda line, times: line * times, st.sampled_from(["a\n", "ab ab\n", "x \n\n", "\n", "é—\n"]), st.integers(1, 80)
)

TEXTS = st.lists(st.one_of(WORDS, BLANKS, LONG_RUNS, REPEATED_LINES), max_size=30).map("".join)

SIZES = st.integers(min_value=1, max_value=120).flatmap(
    lambda size: st.tuples(st.just(size), st.integers(min_value=0, max_value=size - 1))
)


def pages_of(texts: Sequence[str]) -> list[Page]:
    return [Page(number=number, text=text) for number, text in enumerate(texts, 1)]


def split(texts: Sequence[str], *, size: int = 40, overlap: int = 10, document_id: str = "doc_1") -> list[Chunk]:
    splitter = PageSplitter(chunk_size=size, chunk_overlap=overlap)
    return splitter.run(pages_of(texts), tenant="default", collection="manuals", document_id=document_id)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(texts=st.lists(TEXTS, max_size=4), sizes=SIZES)
def test_every_chunk_is_an_exact_piece_of_its_page(texts: list[str], sizes: tuple[int, int]) -> None:
    size, overlap = sizes
    chunks = split(texts, size=size, overlap=overlap)
    for chunk in chunks:
        assert texts[chunk.page - 1][chunk.start : chunk.end] == chunk.text
        assert 0 < len(chunk.text) <= size
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    assert [chunk.page for chunk in chunks] == sorted(chunk.page for chunk in chunks)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=TEXTS, sizes=SIZES)
def test_no_word_is_lost(text: str, sizes: tuple[int, int]) -> None:
    size, overlap = sizes
    joined = "".join(chunk.text for chunk in split([text], size=size, overlap=0))
    assert "".join(joined.split()) == "".join(text.split())
    kept = {char for chunk in split([text], size=size, overlap=overlap) for char in chunk.text}
    assert set("".join(text.split())) <= kept


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=TEXTS, sizes=SIZES)
def test_a_page_of_usual_length_is_split_as_the_library_does(text: str, sizes: tuple[int, int]) -> None:
    size, overlap = sizes
    assume(size > 1)  # the library makes chunks of blanks then
    library = RecursiveCharacterTextSplitter(chunk_size=size, chunk_overlap=overlap)
    assert [chunk.text for chunk in split([text], size=size, overlap=overlap)] == library.split_text(text)


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitters, "_WINDOW_CHARS", 100)
    monkeypatch.setattr(splitters, "_WINDOW_TAIL_CHARS", 30)


@pytest.mark.usefixtures("small_windows")
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.lists(st.one_of(WORDS, BLANKS, LONG_RUNS, REPEATED_LINES), min_size=20, max_size=60).map("".join))
def test_nothing_is_lost_where_windows_meet(text: str) -> None:
    chunks = split([text], size=40, overlap=0)
    assert all(text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    assert [chunk.start for chunk in chunks] == sorted({chunk.start for chunk in chunks})
    assert "".join("".join(chunk.text for chunk in chunks).split()) == "".join(text.split())


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("a" * 80 + "\n\n" + "b" * 5 + "\n" + "c c" * 40, 82),
        ("a" * 75 + " b\n" + "c c" * 40, 78),
        ("a" * 90 + " " + "b" * 100, 91),
        ("a " + "b" * 200, 100),
        ("a" * 100, 100),
    ],
)
def test_a_window_ends_behind_the_best_separator_near_its_end(text: str, ends: int) -> None:
    windows = list(splitters._windows(text))
    assert windows[0] == (0, ends)
    assert [begin for begin, _ in windows[1:]] == [end for _, end in windows[:-1]]
    assert windows[-1][1] == len(text)


def test_neighbours_share_text() -> None:
    first, second, *_ = split([" ".join(f"word{number}" for number in range(40))], size=50, overlap=20)
    assert first.page == second.page == 1
    assert 0 < first.end - second.start <= 20


def test_no_chunk_spans_two_pages() -> None:
    chunks = split(["the end", "", " \n ", "the beginning"])
    assert [(chunk.page, chunk.text) for chunk in chunks] == [(1, "the end"), (4, "the beginning")]


def test_equal_texts_have_different_ids_which_do_not_depend_on_the_page() -> None:
    once, twice = split(["same"]), split(["other", "same", "same"])
    assert twice[1].id == once[0].id
    assert twice[2].id not in {twice[0].id, twice[1].id}
    assert split(["same"], document_id="doc_2")[0].id != once[0].id


def _splitter_that_says(texts: Sequence[str], start: int) -> PageSplitter:
    documents = [SimpleNamespace(page_content=text, metadata={"start_index": start}) for text in texts]
    splitter = PageSplitter(chunk_size=40, chunk_overlap=10)
    splitter._splitter = SimpleNamespace(create_documents=lambda _: documents)  # type: ignore[assignment]
    return splitter


@pytest.mark.parametrize("start", [-1, 0, 99])
def test_a_wrong_offset_of_the_splitter_is_put_right(start: int) -> None:
    splitter = _splitter_that_says(["second"], start)
    (chunk,) = splitter.run(pages_of(["first second"]), tenant="t", collection="c", document_id="d")
    assert (chunk.start, chunk.end) == (6, 12)


def test_text_that_is_not_on_the_page_is_a_defect() -> None:
    with pytest.raises(InternalError, match="page 1"):
        _splitter_that_says(["third"], 0).run(pages_of(["first"]), tenant="t", collection="c", document_id="d")
