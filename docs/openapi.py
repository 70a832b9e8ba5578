"""Writes what the code knows of the API: openapi.json, and the page about its errors. Holds a new file against an old.

``python docs/openapi.py write`` and ``python docs/openapi.py check``; OASDIFF names the tool that compares.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ragline.api import main as api
from ragline.api.error_pages import all_pages
from ragline.common.config import ApiConfig

__all__ = ["DOCUMENT", "ERRORS", "breaking", "document", "main", "text_of"]

DOCUMENT = Path(__file__).with_name("openapi.json")
ERRORS = Path(__file__).with_name("errors.md")

_ROOT = Path(__file__).resolve().parents[1]


def breaking(base: Path, revision: Path) -> str:
    """What in the new file would break a client of the old one; empty: nothing."""
    tool = os.environ.get("OASDIFF", "oasdiff")
    command = [tool, "breaking", str(base), str(revision), "--fail-on", "WARN", "--color", "never"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode not in {0, 1} or (ended.returncode and not ended.stdout.strip()):
        raise SystemExit(f"oasdiff could not compare: {ended.stderr or ended.stdout}")
    return ended.stdout if ended.returncode else ""


def document() -> dict[str, Any]:
    """The document of an API with default settings."""
    with patch.object(api, "configure_logging"):
        return api.create_app(ApiConfig.model_construct()).openapi()


def main(arguments: list[str]) -> int:
    """Do what the one argument says.

    Returns
    -------
    int
        1 when clients would break.
    """
    match arguments:
        case ["check"]:
            return _check(DOCUMENT)
        case ["write"]:
            return _write()
        case _:
            raise SystemExit(__doc__)


def text_of(content: dict[str, Any]) -> str:
    """The file's text: the same document is the same text."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _base() -> str:
    """The commit that clients know: where this branch began, or on the main branch the commit before."""
    head, began = _git("rev-parse", "HEAD"), _git("merge-base", "HEAD", "origin/main")
    return began if began and began != head else _git("rev-parse", "HEAD^")


def _check(revision: Path) -> int:
    if _git("rev-parse", "--is-shallow-repository") == "true":
        raise SystemExit("This clone has no history to compare openapi.json with: fetch all of it")
    base = _base()
    known = _git("show", f"{base}:docs/openapi.json") if base else ""
    if not known:
        sys.stdout.write("There is no earlier openapi.json to compare with.\n")
        return 0
    version, new = (json.loads(text)["info"]["version"] for text in (known, revision.read_text(encoding="utf-8")))
    with tempfile.TemporaryDirectory() as folder:
        earlier = Path(folder) / "openapi.json"
        earlier.write_text(known, encoding="utf-8")
        found = breaking(earlier, revision)
    if not found:
        return 0
    sys.stdout.write(f"Clients of {base[:12]} would break:\n{found}\n")
    if _series(version) != _series(new):
        sys.stdout.write(f"They are told by the version, {new} after {version}.\n")
        return 0
    return 1


def _git(*arguments: str) -> str:
    ended = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)
    return ended.stdout.strip() if ended.returncode == 0 else ""


def _series(version: str) -> list[str]:
    """What has to change with an incompatible version: the major number, or before 1.0 the minor one."""
    major, minor, *_ = version.split(".")
    return [major, minor] if major == "0" else [major]


def _write() -> int:
    text = text_of(document())
    with tempfile.TemporaryDirectory() as folder:
        revision = Path(folder) / "openapi.json"
        revision.write_text(text, encoding="utf-8")
        if not os.environ.get("BREAKING") and _check(revision):
            sys.stdout.write("Nothing was written. If it must be so: make openapi BREAKING=1, and a new version.\n")
            return 1
    DOCUMENT.write_text(text, encoding="utf-8")
    ERRORS.write_text(all_pages(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
