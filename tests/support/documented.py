"""Shell commands of a page, as a reader finds them."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

__all__ = ["blocks", "commands", "section", "typed_in", "without_section"]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of each fenced block."""
    return [(language, text) for language, text in _FENCE.findall(page)]


def commands(page: str) -> list[str]:
    """Every command of the `bash` blocks, with lines that go on put together."""
    text = "\n".join(block for language, block in blocks(page) if language == "bash")
    lines = re.sub(r" *\\\n *", " ", text).splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def section(page: str, title: str) -> str:
    """The section under a heading of the second level."""
    found = _section(title).search(page)
    assert found, f"there is no section {title}"
    return found[0]


def typed_in(text: str, *, folder: Path, env: Mapping[str, str], timeout_seconds: float) -> str:
    """What a command or a block of them printed; it has to end well."""
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout_seconds,
        check=False,
        text=True,
    )
    assert ended.returncode == 0, f"{text}\n{ended.stdout}"
    return ended.stdout


def without_section(page: str, title: str) -> str:
    """The page, less the section under a heading of the second level."""
    return page.replace(section(page, title), "")


def _section(title: str) -> re.Pattern[str]:
    return re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
