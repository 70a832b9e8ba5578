import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from ragline.cli.supervisor import logs
from ragline.cli.supervisor.logs import LogFollower, open_logs, tail
from ragline.cli.supervisor.parts import Part


def part(name: str, shown: str = "") -> Part:
    return Part(name=name, argv=(), ready=lambda: True, shown=re.compile(shown))


def test_a_log_is_continued_until_it_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_ROTATE_BYTES", 10)
    path = open_logs([part("api")], tmp_path)["api"]
    path.write_text("short")
    assert open_logs([part("api")], tmp_path)["api"].read_text() == "short"
    path.write_text("longer than ten")
    assert open_logs([part("api")], tmp_path)["api"].read_text() == ""
    assert (tmp_path / "api.log.1").read_text() == "longer than ten"


def test_tail_gives_the_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("".join(f"line {number}\n" for number in range(10_000)))
    assert tail(path, lines=2) == "line 9998\nline 9999"


def test_new_lines_are_shown_behind_aligned_names(tmp_path: Path) -> None:
    parts = [part("api"), part("worker-rag", shown="WARN")]
    paths = open_logs(parts, tmp_path)
    paths["api"].write_text("from an earlier start\n")
    screen = io.StringIO()
    with LogFollower(parts, paths, Console(file=screen, width=20)), paths["api"].open("a") as log:
        log.write("[not markup] and longer than the screen\nlast words")
        paths["worker-rag"].write_text("INFO fine\nWARN not fine\n")
    assert screen.getvalue().splitlines() == [
        "api        │ [not markup] and longer than the screen",
        "api        │ last words",
        "worker-rag │ WARN not fine",
    ]


def test_prefixes_are_coloured_on_a_terminal(tmp_path: Path) -> None:
    parts = [part("api"), part("flower")]
    paths = open_logs(parts, tmp_path)
    screen = io.StringIO()
    with LogFollower(parts, paths, Console(file=screen, force_terminal=True, color_system="standard")):
        paths["api"].write_text("hello\n")
        paths["flower"].write_text("hello\n")
    assert screen.getvalue() == "\x1b[36mapi    │ \x1b[0mhello\n\x1b[32mflower │ \x1b[0mhello\n"
