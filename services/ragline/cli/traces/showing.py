"""A trace in the terminal: a tree of its spans, with a bar for each."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ragline.cli.traces.finding import FoundTrace
from ragline.cli.traces.ledger import LEDGER
from ragline.cli.traces.spans import Placed, Span, ends, in_order
from ragline.cli.traces.wording import category, length, moment, subjects
from ragline.common.span_names import (
    ATTEMPT,
    GEN_AI_INPUT_TOKENS,
    GEN_AI_OUTPUT_TOKENS,
    HTTP_STATUS,
    MESSAGING_DESTINATION,
    OUTCOME,
)

__all__ = ["print_trace", "trace_as_json"]

_BAR_CELLS = 28
_EIGHTHS = " ▏▎▍▌▋▊▉█"

_SERVICES = "ragline-"
"""What the names of our services begin with."""

_STYLES = {"error": "red", "wait": "yellow", "cold": "magenta", "call": "green", "work": "blue"}

_SHORT_NAMES = {
    MESSAGING_DESTINATION: "queue",
    ATTEMPT: "attempt",
    "position": "position",
    "cold": "cold",
    "collection": "collection",
    "state": "state",
    "progress": "progress",
    OUTCOME: "outcome",
    HTTP_STATUS: "status",
    GEN_AI_INPUT_TOKENS: "input tokens",
    GEN_AI_OUTPUT_TOKENS: "output tokens",
    "citations": "citations",
}
"""Attributes that are shown, and what they are called in short; the others are in ``--json``."""


def print_trace(found: FoundTrace, console: Console) -> None:
    """For people."""
    start_us, end_us = ends(found.spans)
    for note in found.notes:
        console.print(Text(note, "yellow"), soft_wrap=True)
    errors = sum(span.failed for span in found.spans)
    head = f"{moment(start_us)}, {length(end_us - start_us)}, {len(found.spans)} spans, {errors} with errors"
    console.print(Text.assemble(("trace ", "bold"), (found.trace_id or "without an id", "bold"), f": {head}"))
    about = f"about {', '.join(named)}; " if (named := subjects(found.spans)) else ""
    console.print(Text(f"{about}from {_named(found.source)}", "dim"), soft_wrap=True)
    placed = in_order(found.spans)
    names = [_name(here, guide) for here, guide in zip(placed, _guides(placed), strict=True)]
    longest = max((name.cell_len for name in names), default=0)
    table = Table(
        Column("span", width=min(longest, console.width // 2), no_wrap=True, overflow="ellipsis"),
        Column("began", justify="right", no_wrap=True),
        Column("", width=_BAR_CELLS, no_wrap=True),
        Column("took", justify="right", no_wrap=True),
        Column("", overflow="fold", ratio=1),
        box=None,
        expand=True,
        padding=(0, 1, 0, 0),
        header_style="dim",
    )
    for here, name in zip(placed, names, strict=True):
        table.add_row(name, *_row(here.span, start_us, max(end_us - start_us, 1), found.spans))
    console.print(table)


def trace_as_json(found: FoundTrace) -> dict[str, Any]:
    """For programs."""
    return {
        "trace_id": found.trace_id,
        "source": found.source,
        "notes": list(found.notes),
        "spans": [{**asdict(span), "duration_us": span.duration_us} for span in found.spans],
    }


def _named(source: str) -> str:
    if source == LEDGER:
        return "the ledger's own timings: waits and steps, without the calls within them"
    return source


def _name(here: Placed, guide: str) -> Text:
    service = here.service.removeprefix(_SERVICES)
    shown = f" {service}" if service not in {"", LEDGER} else ""
    return Text.assemble((guide, "dim"), (here.span.name, "bold red" if here.span.failed else "bold"), (shown, "dim"))


def _row(span: Span, start_us: int, total_us: int, spans: Sequence[Span]) -> tuple[Text, ...]:
    return (
        Text(f"+{length(max(span.start_us - start_us, 0))}", "dim"),
        Text(_bar(span.start_us - start_us, span.duration_us, total_us), _STYLES[category(span)]),
        Text(length(span.duration_us)),
        _details(span, spans),
    )


def _bar(offset_us: int, duration_us: int, total_us: int) -> str:
    """Filled cells at the span's place; the last one in eighths, and never nothing."""
    begin = min(offset_us * _BAR_CELLS // total_us, _BAR_CELLS - 1)
    eighths = max(duration_us * _BAR_CELLS * 8 // total_us, 1)
    whole, part = divmod(min(eighths, (_BAR_CELLS - begin) * 8), 8)
    return " " * begin + _EIGHTHS[8] * whole + (_EIGHTHS[part] if part else "")


def _details(span: Span, spans: Sequence[Span]) -> Text:
    words = [f"{short}={span.attributes[name]}" for name, short in _SHORT_NAMES.items() if name in span.attributes]
    words += [f"{happened.name} after {length(happened.at_us - span.start_us)}" for happened in span.moments]
    names = {other.span_id: other.name for other in spans}
    words += [f"linked to {names.get(link.span_id, f'trace {link.trace_id}')} {link.span_id}" for link in span.links]
    error = (f"{span.message or 'failed'} ", "red") if span.failed else ""
    return Text.assemble(error, (", ".join(words), "dim"))


def _guides(placed: Sequence[Placed]) -> list[str]:
    """The lines in front of each name; from the last to the first, since a line goes on when a sibling follows."""
    guides, follows = [], set[int]()
    for here in reversed(placed):
        lines = ["│ " if depth in follows else "  " for depth in range(1, here.depth)]
        branch = ("├ " if here.depth in follows else "└ ") if here.depth else ""
        guides.append("".join(lines) + branch)
        follows = {depth for depth in follows if depth < here.depth} | {here.depth}
    return guides[::-1]
