import io

import pytest
from rich.console import Console, RenderableType

from ragline.cli.replies import Consistency
from ragline.cli.showing import consistency_table, status_table


def shown(renderable: RenderableType) -> str:
    screen = io.StringIO()
    Console(file=screen, width=160).print(renderable)
    return screen.getvalue()


def test_status_shows_all_that_is_said() -> None:
    reply = {
        "id": "job_1",
        "status": "failed",
        "progress": {"done": 0, "total": 3, "unit": "pages"},
        "error": {"code": "no_text", "detail": "[a scan]"},
        "result": None,
        "workers": ["document@pc"],
        "unchanged": False,
        "links": {},
    }
    lines = [tuple(line.split(maxsplit=1)) for line in shown(status_table(reply)).splitlines()]
    assert [tuple(word.strip() for word in line) for line in lines] == [
        ("id", "job_1"),
        ("status", "failed"),
        ("progress.done", "0"),
        ("progress.total", "3"),
        ("progress.unit", "pages"),
        ("error.code", "no_text"),
        ("error.detail", "[a scan]"),
        ("workers.1", "document@pc"),
        ("unchanged", "False"),
    ]


def report(**changes: object) -> Consistency:
    base = {"documents": 2, "chunks": 50, "missing": [], "extra": [], "stale": [], "consistent": True}
    return Consistency.model_validate(base | changes)


def test_a_consistent_collection_is_called_so() -> None:
    text = shown(consistency_table("papers", report()))
    assert "papers: consistent" in text
    assert "2 documents, 50 chunks stored" in text


@pytest.mark.parametrize(("count", "more"), [(None, "and 5 more"), (140, "and 120 more")])
def test_differences_are_counted_and_the_first_twenty_named(count: int | None, more: str) -> None:
    ids = [f"id-{number:02}" for number in range(25)]
    text = shown(consistency_table("papers", report(missing=ids, missing_count=count, consistent=False)))
    assert "NOT consistent" in text
    assert "id-19" in text
    assert "id-20" not in text
    assert more in text
