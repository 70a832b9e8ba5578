"""Public classes and functions of the inner packages say what they are for."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.lints.sources import FunctionNode, python_files, relative

CHECKED = ("services/ragline/common", "services/ragline/stores", "services/ragline/pipeline")


def undocumented(source: str) -> list[str]:
    """Public names without a docstring, the module itself among them."""
    tree = ast.parse(source)
    missing = [] if ast.get_docstring(tree) or not tree.body else ["module"]
    return missing + list(_undocumented(tree, ""))


def _undocumented(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    for child in node.body:
        if not isinstance(child, FunctionNode | ast.ClassDef) or child.name.startswith("_"):
            continue
        if ast.get_docstring(child) is None and not _speaks_otherwise(child):
            yield prefix + child.name
        if isinstance(child, ast.ClassDef):
            yield from _undocumented(child, f"{child.name}.")


def _speaks_otherwise(node: FunctionNode | ast.ClassDef) -> bool:
    """An error with a `title` of its own, and a method whose meaning the base class gives."""
    if isinstance(node, ast.ClassDef):
        assigned = (part for part in node.body if isinstance(part, ast.Assign))
        return any(isinstance(name, ast.Name) and name.id == "title" for part in assigned for name in ast.walk(part))
    decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    return bool(decorators & {"override", "overload"})


@pytest.mark.parametrize("path", python_files(*CHECKED), ids=relative)
def test_public_names_are_documented(path: Path) -> None:
    assert undocumented(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("x = 1", ["module"]),
        ('"""M."""\ndef a(): ...', ["a"]),
        ('"""M."""\nasync def a(): ...', ["a"]),
        ('"""M."""\nclass A:\n    def b(self): ...\n    def _c(self): ...', ["A", "A.b"]),
        ('"""M."""\nclass _A:\n    def b(self): ...', []),
        ('"""M."""\nclass NotFound(E):\n    code, title = "a", "b"', []),
        ('"""M."""\nclass A:\n    """A."""\n    @typing.override\n    def b(self): ...', []),
        ("", []),
    ],
)
def test_missing_docstring_is_found(source: str, names: list[str]) -> None:
    assert undocumented(source) == names
