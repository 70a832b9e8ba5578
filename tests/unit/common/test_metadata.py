"""What callers note about a document is bounded, and filters compare only what can be compared."""

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ragline.common.errors import InvalidRequest
from ragline.common.metadata import Scalar, check_filter, check_metadata, matcher

LONGEST = "k" + "x" * 63
OPERATORS = ("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "exists")

any_scalar = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=600)
    | st.text(st.characters(), max_size=9)
)
dates = st.one_of(
    st.dates().map(str),
    st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat()),
    st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2}))?"),
)
any_json = st.recursive(
    any_scalar | dates,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=80), inner, max_size=5)
        | st.dictionaries(st.sampled_from(["a", "year", *OPERATORS]), inner, max_size=5)
    ),
    max_leaves=40,
)
fine_scalars = (
    dates
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9)
)


def _pointers(error: InvalidRequest) -> list[str]:
    return [problem["pointer"] for problem in error.errors]


def _refused(check: Callable[[object], object], value: object) -> InvalidRequest | None:
    try:
        check(value)
    except InvalidRequest as error:
        return error
    return None


@given(any_json)
def test_any_json_is_metadata_or_an_invalid_request(value: object) -> None:
    error = _refused(check_metadata, value)
    if error is None:
        assert check_metadata(value) == value
        assert orjson.loads(orjson.dumps(value)) == value
    else:
        assert error.errors
        assert orjson.dumps([error.detail, *error.errors])


@given(any_json, st.dictionaries(st.sampled_from(["a", "year"]), fine_scalars))
def test_any_json_is_a_filter_that_can_be_applied_or_an_invalid_request(
    value: dict[str, Any], metadata: dict[str, Scalar]
) -> None:
    error = _refused(check_filter, value)
    if error is None:
        checked = check_filter(value)
        assert check_filter(checked) == checked == orjson.loads(orjson.dumps(checked))
        assert matcher(checked)(metadata) is matcher(value)(metadata)
    else:
        assert error.errors
        assert orjson.dumps([error.detail, *error.errors])


@given(fine_scalars, fine_scalars)
def test_comparisons_agree_with_each_other(value: Scalar, operand: Scalar) -> None:
    def holds(operator: str, wanted: object = operand) -> bool:
        return matcher({"a": {operator: wanted}})({"a": value})

    assert not (holds("eq") and holds("ne"))
    assert sum([holds("lt"), holds("gt"), holds("eq")]) <= 1
    assert holds("eq") is holds("in", [operand])
    assert holds("ne") is holds("nin", [operand])
    if not isinstance(operand, bool):
        assert holds("lte") is (holds("lt") or holds("eq"))
        assert holds("gte") is (holds("gt") or holds("eq"))


@given(st.datetimes(timezones=st.timezones()), st.datetimes(timezones=st.timezones()))
def test_date_times_compare_as_python_does(left: datetime, right: datetime) -> None:
    # Python writes offsets with seconds for historical time zones; RFC 3339 has none.
    assume(not any((moment.utcoffset() or timedelta()).seconds % 60 for moment in (left, right)))
    metadata = {"at": left.isoformat()}
    assert matcher({"at": {"lt": right.isoformat()}})(metadata) is (left < right)


def test_metadata_is_given_back_unchanged() -> None:
    metadata = {"team": "HR", "year": 2024, "share": 0.5, "draft": False, LONGEST: "x" * 512, "date": "2024-05-01"}

    assert check_metadata(metadata) == metadata
    assert check_metadata({}) == {}
    assert len(check_metadata({f"k{number}": number for number in range(32)})) == 32


@pytest.mark.parametrize(
    ("value", "pointers"),
    [
        (None, [""]),
        ([], [""]),
        ("{}", [""]),
        ({f"k{number}": number for number in range(33)}, [""]),
        ({"": 1}, [""]),
        ({"1a": 1}, [""]),
        ({"a b": 1}, [""]),
        ({"a\n": 1}, [""]),
        ({"\u00e4": 1}, [""]),
        ({LONGEST + "x": 1}, [""]),
        ({1: 1}, [""]),
        ({"a": None, "b": 1, "c": {}}, ["/a", "/c"]),
        ({"a": [1]}, ["/a"]),
        ({"a": "x" * 513}, ["/a"]),
        ({"a": "\ud800"}, ["/a"]),
        ({"a": math.nan, "b": math.inf, "c": -math.inf}, ["/a", "/b", "/c"]),
        ({"a": 2**53}, ["/a"]),
        ({"a": -(10**400)}, ["/a"]),
    ],
)
def test_bad_metadata_is_refused_and_pointed_at(value: object, pointers: list[str]) -> None:
    with pytest.raises(InvalidRequest) as raised:
        check_metadata(value, at="/query/metadata")
    assert _pointers(raised.value) == [f"/query/metadata{pointer}" for pointer in pointers]


@pytest.mark.parametrize(
    ("value", "pointers"),
    [
        ([], [""]),
        ({"a": {}}, ["/a"]),
        ({"a": None}, ["/a/eq"]),
        ({"a": [1]}, ["/a/eq"]),
        ({"a": {"$gt": 1}}, ["/a"]),
        ({"a": {"GT": 1}}, ["/a"]),
        ({"a": {"not": {"eq": 1}}}, ["/a"]),
        ({"a": {"eq": {"eq": 1}}}, ["/a/eq"]),
        ({"a": {"gt": True}}, ["/a/gt"]),
        ({"a": {"lt": math.nan}}, ["/a/lt"]),
        ({"a": {"in": 1}}, ["/a/in"]),
        ({"a": {"in": []}}, ["/a/in"]),
        ({"a": {"in": [1, [2]]}}, ["/a/in/1", "/a/in"]),
        ({"a": {"nin": [1, "1"]}}, ["/a/nin"]),
        ({"a": {"nin": [1, True]}}, ["/a/nin"]),
        ({"a": {"exists": 1}}, ["/a/exists"]),
        ({"a": {"in": [1] * 129}}, ["/a/in", ""]),
        ({"a": {"in": [1] * 100}, "b": {"in": [1] * 28, "eq": 1}}, [""]),
        ({"a": {"eq": "x" * 513, "lt": "x" * 513}}, ["/a/eq", "/a/lt"]),
    ],
)
def test_a_bad_filter_is_refused_and_pointed_at(value: object, pointers: list[str]) -> None:
    with pytest.raises(InvalidRequest) as raised:
        check_filter(value)
    assert _pointers(raised.value) == [f"/body/filter{pointer}" for pointer in pointers]


def test_a_filter_is_given_back_in_its_long_form() -> None:
    assert check_filter({"a": 1, "b": {"gt": 1}}) == {"a": {"eq": 1}, "b": {"gt": 1}}
    assert check_filter({"a": {"in": [1] * 100}, "b": {"in": [1] * 28}})


METADATA = check_metadata(
    {"team": "HR", "year": 2024, "share": 0.5, "draft": False, "one": 1, "signed": "2024-05-01T23:30:00-02:00"}
)


@pytest.mark.parametrize(
    "fulfilled",
    [
        {},
        {"team": "HR"},
        {"team": {"ne": "hr"}},
        {"team": {"in": ["IT", "HR"]}},
        {"team": {"nin": ["IT"]}},
        {"team": {"gt": "HQ", "lt": "HS"}},
        {"team": {"ne": "2024-05-01"}},
        {"year": 2024.0},
        {"year": {"gte": 2024, "lte": 2024}},
        {"year": {"gt": 2023.5, "lt": 2024.5}},
        {"share": {"lt": 1}},
        {"draft": False},
        {"draft": {"ne": True}},
        {"draft": {"exists": True}},
        {"absent": {"exists": False}},
        # 01:30 of the next day in UTC.
        {"signed": "2024-05-02T01:30:00Z"},
        {"signed": "2024-05-02t01:30:00.000z"},
        {"signed": {"gt": "2024-05-02", "lt": "2024-05-03"}},
        {"signed": {"lt": "2024-05-02T01:30:00.0000000001Z", "gt": "2024-05-02T01:29:59.9Z"}},
        {"signed": {"in": ["2020-01-01", "2024-05-02 04:30:00+03:00"]}},
        {"team": "HR", "year": {"gt": 2000}, "draft": False},
    ],
)
def test_a_fulfilled_filter(fulfilled: dict[str, Any]) -> None:
    assert matcher(check_filter(fulfilled))(METADATA)


@pytest.mark.parametrize(
    "other",
    [
        {"team": "hr"},
        {"team": {"eq": "HR", "ne": "HR"}},
        {"team": {"lt": "2024-05-01"}},
        {"team": {"gt": "2024-05-01"}},
        {"team": {"ne": 1}},
        {"team": {"nin": [1, 2]}},
        {"year": "2024"},
        {"year": {"ne": "2024"}},
        {"year": {"gt": "2000"}},
        {"one": True},
        {"one": {"in": [True]}},
        {"draft": 0},
        {"draft": {"lt": 1}},
        {"draft": {"exists": False}},
        {"absent": {"exists": True}},
        {"absent": {"ne": 1}},
        {"absent": {"nin": [1]}},
        {"signed": "2024-05-01"},
        {"signed": {"lt": "2024-05-02"}},
        {"team": "HR", "year": 2023},
    ],
)
def test_a_filter_that_is_not_fulfilled(other: dict[str, Any]) -> None:
    assert not matcher(check_filter(other))(METADATA)


@pytest.mark.parametrize(
    "text",
    ["2024-02-30", "2024-13-01", "0000-01-01", "2024-01-01T24:00:00Z", "2024-01-01T00:00:00", "2024-01-01\n", "2024"],
)
def test_what_is_no_date_is_a_string_like_any_other(text: str) -> None:
    assert matcher({"a": text})({"a": text})
    assert not matcher({"a": {"gt": "0001-01-01"}})({"a": text})
    assert matcher({"a": {"gt": ""}})({"a": text})


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:60-23:59"])
def test_dates_at_the_ends_of_time_have_a_place(text: str) -> None:
    assert matcher({"a": {"lt": "0001-01-01"}})({"a": text}) is text.startswith("0001")
    assert matcher({"a": {"gt": "9999-12-31T23:59:59Z"}})({"a": text}) is text.startswith("9999")
