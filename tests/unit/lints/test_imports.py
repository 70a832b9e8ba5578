"""Imports go down only; `api` knows neither who does the work nor how."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.lints.sources import ROOT, python_files, relative

FORBIDDEN_TO_THE_API = ("ragline.worker", "ragline.pipeline")


def forbidden_imports(source: str, forbidden: tuple[str, ...], package: str) -> list[str]:
    """What a module of `package` imports, at any depth of its code, though it may not."""
    imported: list[str] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                imported += [alias.name for alias in node.names]
            case ast.ImportFrom():
                base = _absolute(node, package)
                imported += [base, *(f"{base}.{alias.name}" for alias in node.names)]
            case _:
                pass
    return [name for name in imported if any(name == part or name.startswith(f"{part}.") for part in forbidden)]


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if node.level == 0:
        return node.module or ""
    parents = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parents, *(node.module or "").split(".")]).rstrip(".")


def test_contracts_of_pyproject_are_kept() -> None:
    # In a process of its own: it configures logging and silences every logger that is there.
    lint = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    run = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "4 kept" in run.stdout


@pytest.mark.parametrize("path", python_files("services/ragline/api"), ids=relative)
def test_api_imports_neither_worker_nor_pipeline(path: Path) -> None:
    package = ".".join(path.relative_to(ROOT / "services").parent.parts)
    assert forbidden_imports(path.read_text(encoding="utf-8"), FORBIDDEN_TO_THE_API, package) == []


@pytest.mark.parametrize(
    "source",
    [
        "import ragline.worker.main",
        "from ragline.pipeline import querying",
        "from ragline import worker",
        "def late():\n    from ragline.worker.main import app",
        "from ..worker import main",
        "from ... import pipeline",
    ],
)
def test_forbidden_import_is_found(source: str) -> None:
    package = "ragline.api.handlers" if "..." in source else "ragline.api"
    assert forbidden_imports(source, FORBIDDEN_TO_THE_API, package)


@pytest.mark.parametrize(
    "source", ["import ragline.workers", "from ragline.common import queues", "from . import main"]
)
def test_allowed_import_is_not_found(source: str) -> None:
    assert forbidden_imports(source, FORBIDDEN_TO_THE_API, "ragline.api") == []
