"""Functions and files stay small enough to read; exceptions are listed and may only shrink."""

import ast
import tomllib
from collections.abc import Mapping
from pathlib import Path

from tests.unit.lints.sources import FunctionNode, functions, is_entry_point, python_files, relative

RATCHET = Path(__file__).with_name("shape_ratchet.toml")

FUNCTION_SOFT_LINES = 40
FUNCTION_HARD_LINES = 60
FILE_SOFT_LINES = 400
FILE_HARD_LINES = 500
MAX_ARGUMENTS = 5


def function_sizes(source: str) -> dict[str, int]:
    """Lines of body of each function, its docstring left out."""
    return {name: _body_lines(node) for name, node in functions(ast.parse(source))}


def long_signatures(source: str) -> list[str]:
    """Functions with more than five arguments.

    A constructor may have more, but by keyword (ruff's PLR0917), and so may the inputs of an endpoint or a command.
    """
    return [
        name
        for name, node in functions(ast.parse(source))
        if node.name != "__init__" and not is_entry_point(node) and _argument_count(node) > MAX_ARGUMENTS
    ]


def problems(sizes: Mapping[str, int], ratchet: Mapping[str, int], *, soft: int, hard: int) -> list[str]:
    """What breaks the limits, or a ratchet entry that does not tell the truth."""
    found = []
    for name, size in sizes.items():
        entry = ratchet.get(name)
        if size > hard:
            found.append(f"{name} has {size} lines, more than {hard}")
        elif size > soft and entry is None:
            found.append(f"{name} has {size} lines, more than {soft}: shorten it, or list it with its reason")
        elif size > soft and size > (entry or 0):
            found.append(f"{name} has grown from {entry} to {size} lines")
        elif entry is not None and size != entry:
            found.append(f"{name} has {size} lines: lower its entry, or remove it at {soft} and below")
        elif entry is not None and size <= soft:
            found.append(f"{name} needs no entry")
    return found + [f"{name} is listed, but there is no such thing" for name in ratchet.keys() - sizes.keys()]


def _body_lines(node: FunctionNode) -> int:
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def _argument_count(node: FunctionNode) -> int:
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def _ratchet(table: str) -> dict[str, int]:
    entries: dict[str, int] = tomllib.loads(RATCHET.read_text(encoding="utf-8"))[table]
    return entries


def test_functions_are_short() -> None:
    sizes = {
        f"{relative(path)}: {name}": size
        for path in python_files("services", "clients")
        for name, size in function_sizes(path.read_text(encoding="utf-8")).items()
    }
    assert sizes
    assert problems(sizes, _ratchet("functions"), soft=FUNCTION_SOFT_LINES, hard=FUNCTION_HARD_LINES) == []


def test_files_are_short() -> None:
    files = python_files("services", "clients", "tests", "samples")
    sizes = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert problems(sizes, _ratchet("files"), soft=FILE_SOFT_LINES, hard=FILE_HARD_LINES) == []


def test_functions_have_few_arguments() -> None:
    found = [
        f"{relative(path)}: {name}"
        for path in python_files("services")
        for name in long_signatures(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_lines_of_a_body_are_counted_without_signature_and_docstring() -> None:
    source = """
class A:
    async def b(
        self,
    ) -> int:
        'Two

        lines.'

        x = 1

        return x
""".replace("'", '"""')
    assert function_sizes(source) == {"A.b": 3}


def test_function_of_only_a_docstring_is_empty() -> None:
    assert function_sizes('def a(): """Protocol."""') == {"a": 0}


def test_long_function_is_found() -> None:
    source = "def long():\n" + "    pass\n" * 61
    assert problems(function_sizes(source), {}, soft=40, hard=60) == ["long has 61 lines, more than 60"]
    assert problems(function_sizes(source), {"long": 61}, soft=40, hard=60) == ["long has 61 lines, more than 60"]


def test_ratchet_turns_one_way() -> None:
    def found(size: int, entry: int | None) -> list[str]:
        return problems({"f": size}, {} if entry is None else {"f": entry}, soft=40, hard=60)

    assert found(40, None) == []
    assert found(41, None) == ["f has 41 lines, more than 40: shorten it, or list it with its reason"]
    assert found(50, 50) == []
    assert found(51, 50) == ["f has grown from 50 to 51 lines"]
    assert found(49, 50) == ["f has 49 lines: lower its entry, or remove it at 40 and below"]
    assert found(30, 30) == ["f needs no entry"]
    assert problems({}, {"gone": 50}, soft=40, hard=60) == ["gone is listed, but there is no such thing"]


def test_long_signature_is_found() -> None:
    source = """
class A:
    def __init__(self, *, a, b, c, d, e, f): ...
    def five(self, a, b, /, c, *, d, e, **more): ...
    def six(self, a, b, /, c, *, d, e, f): ...
@router.get("/")
async def handler(a, b, c, d, e, f): ...
"""
    assert long_signatures(source) == ["A.six"]
