"""Opaque cursors: where the next page begins."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, TypeVar

import orjson
from fastapi import Query
from pydantic import TypeAdapter, ValidationError

from ragline.common.errors import InvalidRequest

__all__ = ["MAX_PAGE", "Cursor", "Limit", "decode_cursor", "next_page"]

PlaceT = TypeVar("PlaceT")

MAX_PAGE = 200
"""Most items of one page."""

Cursor = Annotated[
    str | None, Query(max_length=500, pattern="^[A-Za-z0-9_-]+$", description="From the `next` link of the page before")
]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most items of this page")]


def decode_cursor(cursor: str, kind: TypeAdapter[PlaceT]) -> PlaceT:
    """The place that a cursor names.

    Raises
    ------
    InvalidRequest
        It is none that `next_page` has made of such a place.
    """
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        return kind.validate_json(base64.b64decode(padded, altchars=b"-_", validate=True), strict=True)
    except (UnicodeEncodeError, binascii.Error, ValidationError) as error:
        detail = "The cursor is not one of ours"
        raise InvalidRequest(detail, [{"pointer": "/query/cursor", "detail": detail}]) from error


def next_page(path: str, items: Sequence[object], *, limit: int, place: object) -> str | None:
    """Address of the page behind these items, or None when they are the last ones.

    Parameters
    ----------
    items
        One more than `limit` was asked for: there is a next page if it came.
    place
        Where that page begins; JSON.
    """
    if len(items) <= limit:
        return None
    cursor = base64.urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=")
    return f"{path}?limit={limit}&cursor={cursor}"
