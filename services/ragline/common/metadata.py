"""Metadata of documents and filters on them."""

from collections.abc import Mapping
from typing import Any

__all__ = ["matches"]


def matches(metadata: Mapping[str, Any], filter: Mapping[str, Any]) -> bool:  # noqa: A002 - as callers of the API say
    """Whether metadata meet all conditions of a filter."""
    return all(_meets(metadata, key, wanted) for key, wanted in filter.items())


def _meets(metadata: Mapping[str, Any], key: str, wanted: object) -> bool:
    match wanted:
        case {"exists": expected}:
            return (key in metadata) is expected
        case {"ne": value}:
            return bool(metadata.get(key) != value)
        case {"in": values}:
            return metadata.get(key) in values
        case _:
            return key in metadata and bool(metadata[key] == wanted)
