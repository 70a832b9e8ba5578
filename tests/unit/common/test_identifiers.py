"""Names and ids."""

import os
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragline.common.errors import InvalidRequest
from ragline.common.identifiers import (
    check_collection_name,
    check_document_name,
    chunk_id,
    embedding_space,
    is_collection_name,
    is_id,
    new_id,
    physical_collection,
    random_hex,
)

CHUNK: dict[str, Any] = {
    "tenant": "default",
    "collection": "handbooks",
    "document_id": "doc_1",
    "text": "Leave is 30 days.",
    "occurrence": 0,
}


def test_ids_are_random_and_say_what_they_name() -> None:
    ids = {new_id("doc") for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(re.fullmatch(r"doc_[0-9a-f]{24}", each) for each in ids)


@pytest.mark.parametrize("digits", [16, 32])
def test_hex_digits_are_random_and_as_many_as_asked_for(digits: int) -> None:
    ids = {random_hex(digits) for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(re.fullmatch(rf"[0-9a-f]{{{digits}}}", each) for each in ids)


def test_a_forked_process_does_not_draw_the_ids_of_its_parent() -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, random_hex(32).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 32).decode() != random_hex(32)


@pytest.mark.parametrize("prefix", ["job", "doc"])
def test_an_id_of_ours_is_one(prefix: str) -> None:
    assert is_id(prefix, new_id(prefix))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "job_",
        "job_absent",
        f"doc_{'0' * 24}",
        f"job_{'0' * 23}",
        f"job_{'0' * 25}",
        f"job_{'A' * 24}",
        f"job_{'0' * 24}\n",
        f"job_{'0' * 24}:events",
        f"job_{'0' * 24}.",
        "job_" + "\u0660" * 24,
    ],
)
def test_what_only_looks_like_an_id_is_none(text: str) -> None:
    assert not is_id("job", text)


def test_chunk_id_is_stable() -> None:
    """A changed id would embed every document again."""
    assert chunk_id(**CHUNK) == chunk_id(**CHUNK) == "42907723d062b188f244e25492490e69"


@pytest.mark.parametrize(
    "change",
    [{"tenant": "other"}, {"collection": "other"}, {"document_id": "doc_2"}, {"text": "other"}, {"occurrence": 1}],
)
def test_chunk_id_depends_on_each_part(change: dict[str, Any]) -> None:
    assert chunk_id(**{**CHUNK, **change}) != chunk_id(**CHUNK)


def test_chunk_id_keeps_its_parts_apart() -> None:
    assert chunk_id(**{**CHUNK, "tenant": "ab", "collection": "c"}) != chunk_id(
        **{**CHUNK, "tenant": "a", "collection": "bc"}
    )


@given(st.text())
def test_chunk_id_takes_any_text(text: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", chunk_id(**{**CHUNK, "text": text + "\ud83d"}))


def test_embedding_space() -> None:
    assert embedding_space("local", "all-MiniLM-L6-v2") == "local/all-MiniLM-L6-v2"


@pytest.mark.parametrize(
    "space", ["local/all-MiniLM-L6-v2", "openai/text-embedding-3-small", "a", "openai/" + "x" * 300, "x/§$%&/文書", "/"]
)
def test_physical_collection_is_a_name_chroma_takes(space: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9](?:[a-zA-Z0-9_-]{1,61})[a-zA-Z0-9]", physical_collection(space))


def test_spaces_that_look_alike_have_collections_of_their_own() -> None:
    spaces = ["openai/a-b", "openai/a_b", "openai/A-B", "openai-a/b"]
    assert len({physical_collection(space) for space in spaces}) == len(spaces)


@pytest.mark.parametrize("name", ["a", "Handbooks-2026", "a.b_c-d", "0", "x" * 63])
def test_collection_name(name: str) -> None:
    assert check_collection_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", ".", "..", "a/b", "a:b", "a b", "ä", "x" * 64, "a\n", "a\x00b"])
def test_bad_collection_name(name: str) -> None:
    assert not is_collection_name(name)
    with pytest.raises(InvalidRequest):
        check_collection_name(name)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,70}", fullmatch=True))
def test_accepted_collection_names_cannot_leave_their_key(name: str) -> None:
    try:
        check_collection_name(name)
    except InvalidRequest:
        assert len(name) > 63 or name[-1] in "._-"
    else:
        assert ":" not in name


@pytest.mark.parametrize(
    "name",
    [
        "handbook.pdf",
        "Ünïcode 文書 🎉.pdf",
        "..pdf",
        " a ",
        "x" * 255,
        "ä" * 127,
        "\u0645\u06cc\u200c\u062e.pdf",
        "👩\u200d🔬.pdf",
    ],
)
def test_document_name(name: str) -> None:
    assert check_document_name(name) == name


def test_document_name_is_normalised() -> None:
    """A Mac sends the decomposed form, others the composed one: the same document."""
    assert check_document_name("u\u0308.pdf") == check_document_name("\u00fc.pdf") == "\u00fc.pdf"


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "a/b", "a\\b", "../a", "a\x00", "a\nb", "\x7f", "x" * 256, "ä" * 128, "\ud83d"]
)
def test_bad_document_name(name: str) -> None:
    with pytest.raises(InvalidRequest):
        check_document_name(name)


@pytest.mark.parametrize("char", ["\u202e", "\u200b", "\u2066", "\ufeff", "\u00ad", "\U000e0041"])
def test_a_document_name_hides_nothing(char: str) -> None:
    with pytest.raises(InvalidRequest, match="invisible"):
        check_document_name(f"invoice{char}fdp.exe")


@given(st.text())
def test_document_name_is_accepted_as_it_was_accepted_before(name: str) -> None:
    try:
        accepted = check_document_name(name)
    except InvalidRequest:
        return
    assert check_document_name(accepted) == accepted
    assert len(accepted.encode()) <= 255
