"""Whoever logs that something is wrong says what happens next, so that a reader knows whether to act."""

import ast

from tests.unit.lints.sources import python_files, relative

_WRONG = {f"logger.{level}" for level in ("warning", "error", "exception", "critical")}


def _calls() -> list[tuple[str, ast.Call]]:
    return [
        (f"{relative(path)}:{node.lineno}", node)
        for path in python_files("services")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in _WRONG
    ]


def test_what_is_wrong_has_a_next() -> None:
    calls = _calls()
    assert len(calls) > 20
    assert [where for where, call in calls if not {"next", "lost"} & {word.arg for word in call.keywords}] == []


def test_events_are_constant_phrases() -> None:
    calls = _calls()
    assert [where for where, call in calls if not isinstance(call.args[0], ast.Constant)] == []
