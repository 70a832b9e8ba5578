"""Cursors lead on, and nothing that is no cursor of ours is taken for one."""

import base64
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from ragline.api.paging import decode_cursor, next_page
from ragline.common.errors import InvalidRequest

PLACE = TypeAdapter(tuple[int, str])


def _cursor(address: str) -> str:
    return parse_qs(urlsplit(address).query)["cursor"][0]


@given(st.tuples(st.integers(0, 2**53), st.text(max_size=100).filter(lambda text: text.isprintable())))
def test_a_cursor_names_the_place_it_was_made_of(place: tuple[int, str]) -> None:
    address = next_page("/v1/documents", [1, 2, 3], limit=2, place=place)
    assert address is not None
    assert address.startswith("/v1/documents?limit=2&cursor=")
    assert decode_cursor(_cursor(address), PLACE) == place


def test_the_last_page_has_no_next_one() -> None:
    assert next_page("/v1/documents", [1, 2], limit=2, place=[2, "doc_2"]) is None


def _encoded(value: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    ["", "%", "é", "AA", "0", _encoded([1]), _encoded(["1", "doc_1"]), _encoded([1, "doc_1", 2]), _encoded({"a": 1})],
)
def test_anything_else_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="not one of ours"):
        decode_cursor(cursor, PLACE)


@given(st.text(max_size=40))
def test_no_text_breaks_it(cursor: str) -> None:
    try:
        decode_cursor(cursor, PLACE)
    except InvalidRequest:
        return
    assert cursor
