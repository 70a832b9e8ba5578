"""`__init__.py` files are empty; every other module says in a sorted `__all__` what it offers."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.lints.sources import is_entry_point, python_files, relative

MODULES = [path for path in python_files("services") if path.name != "__init__.py"]


OWN_TO_EACH_MODULE = {"logger"}


def problems(source: str) -> list[str]:
    """What is wrong with the `__all__` of a module."""
    body = ast.parse(source).body
    listed = _listed(body)
    if listed is None:
        return ["no __all__"]
    defined, imported = set(_defined(body)), set(_imported(body))
    public = {name for name in defined - OWN_TO_EACH_MODULE if not name.startswith("_")}
    found = [f"{name} does not exist" for name in listed if name not in defined | imported]
    found += [f"{name} is public but not listed" for name in sorted(public - set(listed))]
    if listed != sorted(set(listed), key=_rank):
        found.append("not sorted: CONSTANTS, Classes, functions, each once")
    return found


def _listed(body: list[ast.stmt]) -> list[str] | None:
    for node in body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return list(ast.literal_eval(node.value))
    return None


def _rank(name: str) -> tuple[int, str]:
    """The order ruff's RUF022 gives."""
    if name.isupper():
        return 0, name
    return (1 if name[0].isupper() else 2), name


def _defined(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if is_entry_point(node):
                pass  # reached through its router
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar" | "ParamSpec"))):
                pass  # known to the type checker only
            case ast.Assign():
                yield from (name for target in node.targets for name in _new_names(target))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.If() | ast.Try() | ast.With() | ast.For():
                yield from _defined([child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)])
            case _:
                pass


def _new_names(target: ast.expr) -> list[str]:
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def _imported(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)


@pytest.mark.parametrize("path", [p for p in python_files("services") if p.name == "__init__.py"], ids=relative)
def test_package_file_is_empty(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == ""


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_module_lists_what_it_offers(path: Path) -> None:
    assert problems(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("x = 1", "no __all__"),
        ("__all__ = ['a']", "a does not exist"),
        ("__all__ = []\ndef a(): ...", "a is public but not listed"),
        ("__all__ = []\nA: int = 1", "A is public but not listed"),
        ("__all__ = []\nif True:\n    class A: ...", "A is public but not listed"),
        ("__all__ = ['a', 'A']\nA, a = 1, 2", "not sorted: CONSTANTS, Classes, functions, each once"),
        ("__all__ = ['a', 'a']\na = 2", "not sorted: CONSTANTS, Classes, functions, each once"),
    ],
)
def test_bad_module_is_found(source: str, problem: str) -> None:
    assert problems(source) == [problem]


def test_good_module_passes() -> None:
    source = "from x import y\n__all__ = ['B', 'Aa', 'a', 'y']\nB = _c = 1\nclass Aa: ...\ndef a(): ...\ndef _b(): ..."
    source += "\n@router.get('/a')\nasync def get_a(): ..."
    assert problems(source) == []
