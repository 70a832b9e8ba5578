"""The two clients are one: the same names, parameters and words."""

import inspect
import re

import pytest

import ragline_client
from ragline_client import (
    AnswerStream,
    AsyncAnswerStream,
    AsyncJobHandle,
    AsyncRagline,
    JobHandle,
    Ragline,
)

TWINS = [(Ragline, AsyncRagline), (JobHandle, AsyncJobHandle), (AnswerStream, AsyncAnswerStream)]


def public(kind: type) -> dict[str, object]:
    return {name: member for name, member in inspect.getmembers(kind) if not name.startswith("_")}


def words(member: object) -> str:
    text = f"{inspect.signature(member) if callable(member) else ''}{inspect.getdoc(member)}"
    return re.sub(r"Async|async ", "", text)


@pytest.mark.parametrize(("sync", "asynchronous"), TWINS)
def test_twins_have_the_same_members(sync: type, asynchronous: type) -> None:
    ours, theirs = public(sync), public(asynchronous)

    assert ours
    assert ours.keys() == theirs.keys()
    assert {name: words(ours[name]) for name in ours} == {name: words(theirs[name]) for name in theirs}


def test_the_package_offers_what_it_lists() -> None:
    assert sorted(ragline_client.__all__) == ragline_client.__all__
    assert [name for name in ragline_client.__all__ if not hasattr(ragline_client, name)] == []
