"""JSON as the values of `models`, by their annotations."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime
from functools import cache
from types import UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from ragline_client.errors import UnexpectedReply

__all__ = ["parsed"]

T = TypeVar("T")


def parsed(kind: type[T], value: object) -> T:
    """A value of this dataclass; unknown members are ignored, missing ones have their defaults.

    Raises
    ------
    UnexpectedReply
        A member without a default is missing, or something has the wrong type.
    """
    try:
        return cast("T", _converted(kind, value))
    except (KeyError, TypeError, ValueError) as error:
        raise UnexpectedReply(f"The reply is not a {kind.__name__} of Ragline: {error}") from error


def _converted(kind: Any, value: Any) -> Any:  # noqa: ANN401 - any annotation, any JSON
    if isinstance(kind, type) and is_dataclass(kind):
        return _record(kind, value)
    if get_origin(kind) is UnionType:
        return None if value is None else _converted(get_args(kind)[0], value)
    if get_origin(kind) is tuple:
        return tuple(_converted(get_args(kind)[0], item) for item in _checked(list, value))
    if kind is datetime:
        return datetime.fromisoformat(value)
    if kind is float:
        return float(_checked((int, float), value))
    return value if kind is Any else _checked(get_origin(kind) or kind, value)


def _record(kind: type, value: Any) -> Any:  # noqa: ANN401 - as above
    members = _checked(Mapping, value)
    given = {}
    for name, field, wanted in _fields(kind):
        member = field.metadata.get("member", name)
        optional = field.default is not MISSING or field.default_factory is not MISSING
        if not optional or members.get(member) is not None:
            given[name] = _converted(wanted, members[member])
    return kind(**given)


@cache
def _fields(kind: type) -> list[tuple[str, Field[Any], Any]]:
    hints = get_type_hints(kind)
    return [(field.name, field, hints[field.name]) for field in fields(kind)]


def _checked(kind: Any, value: Any) -> Any:  # noqa: ANN401 - as above
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{type(value).__name__} in the place of {kind}")
    return value
