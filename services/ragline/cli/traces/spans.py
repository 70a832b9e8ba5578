"""Spans of one trace, wherever they came from, and the order they are shown in."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Link", "Moment", "Placed", "Span", "Value", "ends", "in_order", "missing_parents"]

Value = str | bool | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Another span that this one has to do with, such as the attempt before it."""

    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened within a span; the time in Unix microseconds."""

    at_us: int
    name: str
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One piece of work, or of waiting; times in Unix microseconds.

    Attributes
    ----------
    parent_id
        Empty for the first span of a trace.
    service
        The part of the system that it happened in.
    failed, message
        Whether it ended with an error, and what that said.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    name: str
    service: str = ""
    kind: str = "internal"
    start_us: int
    end_us: int
    failed: bool = False
    message: str = ""
    attributes: Mapping[str, Value] = field(default_factory=dict)
    links: tuple[Link, ...] = ()
    moments: tuple[Moment, ...] = ()

    @property
    def duration_us(self) -> int:
        """How long it took, never below 0: clocks of two computers may differ."""
        return max(self.end_us - self.start_us, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A span where it is shown.

    Attributes
    ----------
    depth
        How deep it is nested; 0 for one without a parent that is known.
    service
        That of the span, unless it is its parent's too.
    """

    span: Span
    depth: int
    service: str


def ends(spans: Iterable[Span]) -> tuple[int, int]:
    """When the first of them begins and the last one ends; 0 and 0 for none."""
    bounds = [(span.start_us, span.start_us + span.duration_us) for span in spans]
    return min((start for start, _ in bounds), default=0), max((end for _, end in bounds), default=0)


def in_order(spans: Sequence[Span]) -> list[Placed]:
    """Each span once, below its parent and among its siblings by time.

    A span whose parent has not arrived is shown as a first one. Parents in a circle, which only a broken exporter
    sends, are broken up where they begin.
    """
    by_time = sorted(spans, key=lambda span: (span.start_us, -span.duration_us))
    known = {span.span_id for span in spans}
    children: dict[str, list[Span]] = defaultdict(list)
    for span in by_time:
        children[span.parent_id if span.parent_id in known else ""].append(span)
    placed: list[Placed] = []
    seen: set[str] = set()
    for first in (*children[""], *by_time):
        _place(first, children, placed, seen)
    return placed


def missing_parents(spans: Sequence[Span]) -> set[str]:
    """Spans that others name as their parent and that are not there, but for those of a service that called ours."""
    known = {span.span_id for span in spans}
    return {span.parent_id for span in spans if span.parent_id and span.kind != "server"} - known


def _place(first: Span, children: Mapping[str, list[Span]], placed: list[Placed], seen: set[str]) -> None:
    # A stack and no recursion: nothing bounds how deep a trace is nested.
    stack = [Placed(span=first, depth=0, service=first.service)]
    while stack:
        here = stack.pop()
        if here.span.span_id in seen:
            continue
        seen.add(here.span.span_id)
        placed.append(here)
        above, below = here.span.service, children.get(here.span.span_id, ())
        stack.extend(
            Placed(span=child, depth=here.depth + 1, service="" if child.service == above else child.service)
            for child in reversed(below)
        )
