"""Replies of the API as tables for people."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from ragline.cli.replies import Consistency
from ragline.cli.wording import counted

__all__ = ["consistency_table", "status_table"]

_LISTED_IDS = 20
_EMPTY: tuple[object, ...] = (None, "", [], {})
_STYLES = {
    "succeeded": "green",
    "indexed": "green",
    "failed": "bold red",
    "cancelled": "yellow",
    "running": "cyan",
    "queued": "cyan",
}


def consistency_table(collection: str, report: Consistency) -> Table:
    """What a verification found."""
    verdict = "consistent" if report.consistent else "NOT consistent"
    table = Table("difference", "chunks", "ids", title=f"{collection}: {verdict}", title_style="bold")
    table.caption = f"{counted(report.documents, 'document')}, {counted(report.chunks, 'chunk')} stored"
    for name, count, ids in report.differences():
        more = f"\n... and {count - _LISTED_IDS} more" if count > _LISTED_IDS else ""
        table.add_row(name, str(count), "\n".join(ids[:_LISTED_IDS]) + more)
    return table


def status_table(reply: Mapping[str, Any]) -> Table:
    """Everything a reply says, one line a value; what is empty is left out."""
    table = Table(show_header=False, box=None, padding=(0, 2))
    for name, value in _flat(reply, ""):
        style = _STYLES.get(value, "") if name.rpartition(".")[2] in {"status", "state"} else ""
        table.add_row(Text(name, "bold"), Text(value, style))
    return table


def _flat(value: object, name: str) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in _flat(inner, f"{name}.{key}" if name else str(key))]
    if isinstance(value, list):
        return [row for number, inner in enumerate(value, start=1) for row in _flat(inner, f"{name}.{number}")]
    return [] if value in _EMPTY else [(name, str(value))]
