"""Each alert has its page, all pages have one shape, and what they refer to exists."""

import re
from pathlib import Path

import pytest
import typer

from charts.monitoring.alerts import every_alert
from charts.monitoring.rules import RUNBOOKS
from ragline.cli.main import app
from tests.support.documented import blocks

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / RUNBOOKS
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")

HEADINGS = ["Look at three things", "Causes and cures", "When it clears"]


def test_alerts_and_pages_belong_together() -> None:
    assert [path.stem for path in PAGES] == sorted(every_alert())


def test_every_alert_names_its_page() -> None:
    for name, alerts in every_alert().items():
        for alert in alerts:
            assert alert.rule()["annotations"]["runbook_url"] == f"{RUNBOOKS}/{name}.md"


def test_the_index_lists_each_page_once() -> None:
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| \[(\w+)\]\(\1\.md\)", index, re.MULTILINE)) == [path.stem for path in PAGES]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_has_the_shape_of_all(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert page.startswith(f"# {path.stem}\n\n**For users:** ")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == HEADINGS
    looks = re.findall(r"^\d\. (.+)$", page, re.MULTILINE)
    assert len(looks) == 3
    assert len(_commands(page)) >= 3
    assert page.count("\n| ") >= 3, "no causes"
    assert page.partition("## When it clears\n\n")[2].strip()


@pytest.mark.parametrize("path", [*PAGES, FOLDER / "README.md"], ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]+)(?:#([^)]+))?\)", path.read_text(encoding="utf-8")):
        page = (path.parent / target).resolve()
        assert page.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {_anchor(heading) for heading in headings}, anchor


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_commands_of_ours_exist(path: Path) -> None:
    ours = {line.split()[1] for line in _commands(path.read_text(encoding="utf-8")) if line.startswith("ragline ")}
    assert ours <= set(vars(typer.main.get_command(app))["commands"])


def _commands(page: str) -> list[str]:
    return [
        line.strip() for _, text in blocks(re.sub(r"^   ", "", page, flags=re.MULTILINE)) for line in text.splitlines()
    ]


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
