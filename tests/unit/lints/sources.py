"""What the house lints look at."""

import ast
from collections.abc import Iterator
from pathlib import Path

__all__ = ["ROOT", "FunctionNode", "functions", "is_entry_point", "python_files", "relative", "text_files"]

ROOT = Path(__file__).resolve().parents[3]

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

_NOT_OURS = {
    ".git",
    ".hypothesis",
    ".import_linter_cache",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".venv",
    "__pycache__",
    "dist",
    "storage",
}


def relative(path: Path) -> str:
    """The path as people write it, from the root of the repository."""
    return path.relative_to(ROOT).as_posix()


def python_files(*folders: str) -> list[Path]:
    """All modules below the folders; there must be some in each."""
    found = []
    for folder in folders:
        files = sorted(path for path in (ROOT / folder).rglob("*.py") if _NOT_OURS.isdisjoint(path.parts))
        assert files, f"nothing to check in {folder}"
        found += files
    return found


def text_files(start: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """All files that hold text and may be committed."""
    for path in sorted(start.iterdir()):
        if path.name in _NOT_OURS or path.is_symlink():
            continue
        if path.is_dir():
            yield from text_files(path)
        elif path.name != ".env" and not path.name.startswith(".coverage"):
            try:
                yield path, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


def functions(tree: ast.Module) -> Iterator[tuple[str, FunctionNode]]:
    """All functions of a module with their qualified names, nested ones included."""
    yield from _functions(tree, "")


def is_entry_point(node: FunctionNode) -> bool:
    """Whether it is an HTTP handler or a command: its router calls it, and its arguments are its user's inputs."""
    return any(ast.unparse(decorator).startswith(("router.", "app.")) for decorator in node.decorator_list)


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, FunctionNode]]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield prefix + child.name, child
                yield from _functions(child, f"{prefix}{child.name}.")
            case ast.ClassDef():
                yield from _functions(child, f"{prefix}{child.name}.")
            case _:
                yield from _functions(child, prefix)
