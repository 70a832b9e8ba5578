"""What callers note about a document, and filters that choose documents by it."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from operator import ge, gt, le, lt
from typing import Any

from ragline.common.errors import InvalidRequest

__all__ = ["Scalar", "check_filter", "check_metadata", "matcher"]

Scalar = str | int | float | bool

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_MAX_KEYS = 32
_MAX_VALUE_CHARS = 512
_MAX_METADATA_CHARS = 4096
"""A filter looks at the metadata of every document of a collection: 10,000 documents have 40 MB of it at most."""

_MAX_FILTER_VALUES = 128
"""Values of a whole filter, lists included: it travels in a job's record and is looked at for every document."""

_MAX_INTEGER = 2**53 - 1
"""Largest number that every JSON reader takes for the same one (RFC 8259, section 6)."""

_DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9])))?"
)
_DAY_SECONDS = 86_400

_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {"gt": gt, "gte": ge, "lt": lt, "lte": le}
_LISTS = {"in", "nin"}
_OPERATORS = ("eq", "ne", *_ORDERINGS, "in", "nin", "exists")


def check_filter(given: object, *, at: str = "/body/filter") -> dict[str, dict[str, Any]]:
    """A filter in its long form: every condition is an object of operators, a bare value is ``eq``.

    Parameters
    ----------
    given
        Decoded JSON: ``{"year": 2024}``, ``{"year": {"gte": 2020, "lt": 2024}}``, ``{"team": {"in": ["a", "b"]}}``,
        ``{"draft": {"exists": false}}``. What is in it holds together.
    at
        JSON pointer of the filter in the request.

    Raises
    ------
    InvalidRequest
        It has more than 32 keys or 128 values, or a key, operator or value that cannot be.
    """
    check = _Check(at=at)
    conditions = {key: _long_form(condition) for key, condition in check.members(given)}
    for key, condition in conditions.items():
        check.condition(f"{at}/{key}", condition)
    if sum(_size(condition) for condition in conditions.values()) > _MAX_FILTER_VALUES:
        check.note(at, f"A filter has at most {_MAX_FILTER_VALUES} values")
    check.done()
    return conditions


def check_metadata(given: object, *, at: str = "/body/metadata") -> dict[str, Scalar]:
    """The metadata of a document, unchanged.

    Parameters
    ----------
    given
        Decoded JSON: an object of at most 32 strings (512 characters), finite numbers and booleans, 4,096 characters in
        all. A string in one of RFC 3339's forms is a date.
    at
        JSON pointer of the metadata in the request.

    Raises
    ------
    InvalidRequest
        It is anything else.
    """
    check = _Check(at=at)
    metadata = dict(check.members(given))
    for key, value in metadata.items():
        check.value(f"{at}/{key}", value)
    if sum(len(key) + len(str(value)) for key, value in metadata.items()) > _MAX_METADATA_CHARS:
        check.note(at, f"All keys and values together have at most {_MAX_METADATA_CHARS} characters")
    check.done()
    return metadata


def matcher(conditions: Mapping[str, Any]) -> Callable[[Mapping[str, Scalar]], bool]:
    """Tells whether a document's metadata fulfils every condition of a filter; made once for many documents.

    A key that the document does not have fulfils only ``{"exists": false}``. Values of different JSON types fulfil no
    comparison, ``ne`` and ``nin`` included. Dates compare as instants, a date without a time as the first one of its
    day in UTC; other strings compare by code point, and none comes before or after a date.

    Parameters
    ----------
    conditions
        As `check_filter` accepts them; it is given metadata as `check_metadata` accepts it.
    """
    tests = [
        (key, _test(operator, operand))
        for key, condition in conditions.items()
        for operator, operand in _long_form(condition).items()
    ]
    return lambda metadata: all(test(metadata.get(key)) for key, test in tests)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    """Gathers everything that is wrong, so that the caller mends it in one go."""

    at: str
    errors: list[dict[str, str]] = field(default_factory=list)

    def condition(self, at: str, condition: Mapping[Any, Any]) -> None:
        if not condition or not all(operator in _OPERATORS for operator in condition):
            self.note(at, f"A condition is a value or an object with some of {', '.join(_OPERATORS)}")
            return
        for operator, operand in condition.items():
            if operator == "exists":
                self._flag(f"{at}/{operator}", operand)
            elif operator in _LISTS:
                self._list(f"{at}/{operator}", operand)
            elif operator in _ORDERINGS and isinstance(operand, bool):
                self.note(f"{at}/{operator}", "true and false have no order")
            else:
                self.value(f"{at}/{operator}", operand)

    def done(self) -> None:
        if self.errors:
            told = "; ".join(f"{error['pointer']}: {error['detail']}" for error in self.errors)
            raise InvalidRequest(told, self.errors)

    def members(self, given: object) -> Iterator[tuple[str, Any]]:
        if not isinstance(given, dict):
            self.note(self.at, "This is a JSON object")
            return
        if len(given) > _MAX_KEYS:
            self.note(self.at, f"At most {_MAX_KEYS} keys")
            return
        for key, value in given.items():
            if isinstance(key, str) and _KEY.fullmatch(key):
                yield key, value
            else:
                # No pointer to it: a reply does not repeat what may be of any length and no Unicode.
                self.note(self.at, "A key has 1 to 64 letters, digits, '_' or '-' and begins with a letter")

    def note(self, at: str, detail: str) -> None:
        self.errors.append({"pointer": at, "detail": detail})

    def value(self, at: str, value: object) -> None:
        if problem := _wrong_value(value):
            self.note(at, problem)

    def _flag(self, at: str, operand: object) -> None:
        if not isinstance(operand, bool):
            self.note(at, "true or false")

    def _list(self, at: str, operand: object) -> None:
        if not isinstance(operand, list) or not 0 < len(operand) <= _MAX_FILTER_VALUES:
            self.note(at, f"A list of 1 to {_MAX_FILTER_VALUES} values")
            return
        for index, value in enumerate(operand):
            self.value(f"{at}/{index}", value)
        if len({_json_type(value) for value in operand}) > 1:
            self.note(at, "All values of a list have one type")


def _instant(text: str) -> tuple[int, str] | None:
    """Seconds since the year 1 in UTC and the digits of the fraction; none for a string that is no date.

    A `datetime` knows neither leap seconds, nor fractions below a microsecond, nor offsets at the ends of time.
    """
    parts = _DATE.fullmatch(text)
    if parts is None:
        return None
    try:
        day = date(int(parts[1]), int(parts[2]), int(parts[3])).toordinal()
    except ValueError:
        return None
    time = int(parts[4] or 0) * 3600 + int(parts[5] or 0) * 60 + int(parts[6] or 0)
    offset = int(f"{parts[8] or '+'}1") * (int(parts[9] or 0) * 3600 + int(parts[10] or 0) * 60)
    return day * _DAY_SECONDS + time - offset, (parts[7] or "").rstrip("0")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json_type(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


def _long_form(condition: Any) -> dict[str, Any]:  # noqa: ANN401 - decoded JSON
    return condition if isinstance(condition, dict) else {"eq": condition}


def _ordered(value: Scalar) -> tuple[str, Any]:
    """Kind and place within it: only values of one kind have an order."""
    if not isinstance(value, str):
        return _json_type(value), value
    instant = _instant(value)
    return ("text", value) if instant is None else ("date", instant)


def _size(condition: Mapping[Any, Any]) -> int:
    return sum(len(operand) if isinstance(operand, list) else 1 for operand in condition.values())


def _test(operator: str, operand: Any) -> Callable[[Scalar | None], bool]:  # noqa: ANN401 - what the operator takes
    if operator == "exists":
        return lambda value: (value is not None) is operand
    if operator in _ORDERINGS:
        kind, place = _ordered(operand)
        return lambda value: value is not None and _in_order(_ORDERINGS[operator], _ordered(value), (kind, place))
    operands = operand if operator in _LISTS else [operand]
    json_type, known = _json_type(operands[0]), frozenset(map(_ordered, operands))
    wanted = operator in {"eq", "in"}
    return lambda value: value is not None and _json_type(value) == json_type and (_ordered(value) in known) is wanted


def _in_order(ordering: Callable[[Any, Any], bool], left: tuple[str, Any], right: tuple[str, Any]) -> bool:
    return left[0] == right[0] and ordering(left[1], right[1])


def _wrong_value(value: object) -> str:
    problem = ""
    match value:
        case bool():
            pass
        case str() if len(value) > _MAX_VALUE_CHARS:
            problem = f"A string has at most {_MAX_VALUE_CHARS} characters"
        case str() if not _is_unicode(value):
            problem = "A string is Unicode: half of a surrogate pair stands alone"
        case int() if abs(value) > _MAX_INTEGER:
            problem = "An integer is at most 2^53 - 1"
        case float() if not math.isfinite(value):
            problem = "A number is finite"
        case str() | int() | float():
            pass
        case _:
            problem = "A value is a string, a number, true or false"
    return problem
