"""The traces that the observer remembers."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from ragline.cli.traces.spans import Span, ends, in_order
from ragline.cli.traces.wording import subjects

__all__ = ["Limits", "Summary", "TraceMemory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is remembered.

    Attributes
    ----------
    traces, spans, span_bytes
        Of all traces; `span_bytes` as the exporter sent them, which are several times as much in memory. The trace that
        has been silent for longest goes first.
    spans_of_one, bytes_of_one
        Of one trace; what is beyond is counted and dropped.
    """

    traces: int = 2_000
    spans: int = 50_000
    span_bytes: int = 32 * 2**20
    spans_of_one: int = 5_000
    bytes_of_one: int = 8 * 2**20


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a list says of a trace; times in Unix microseconds.

    Attributes
    ----------
    about
        Documents and jobs.
    dropped
        Spans that were too many.
    """

    trace_id: str
    name: str
    service: str
    about: list[str]
    start_us: int
    duration_us: int
    spans: int
    errors: int
    dropped: int


@dataclass(slots=True)
class _Trace:
    spans: dict[str, tuple[Span, int]] = field(default_factory=dict)
    span_bytes: int = 0
    dropped: int = 0

    def remove_old(self, span_id: str) -> None:
        """Forget a span that is sent again, as an exporter does that got no answer."""
        _, size = self.spans.pop(span_id, (None, 0))
        self.span_bytes -= size


class TraceMemory:
    """Bounded in traces, spans and bytes. Not for threads: the observer has one."""

    def __init__(self, limits: Limits = Limits()) -> None:
        self._limits = limits
        self._traces: OrderedDict[str, _Trace] = OrderedDict()

    @property
    def span_count(self) -> int:
        """Spans of all traces."""
        return sum(len(trace.spans) for trace in self._traces.values())

    def add(self, spans: Iterable[tuple[Span, int]]) -> None:
        """Remember spans, each given with its size in bytes."""
        for span, size in spans:
            trace = self._traces.setdefault(span.trace_id, _Trace())
            self._traces.move_to_end(span.trace_id)
            trace.remove_old(span.span_id)
            if self._is_full(trace, size):
                trace.dropped += 1
                continue
            trace.spans[span.span_id] = span, size
            trace.span_bytes += size
        self._forget()

    def found(self, text: str, *, limit: int) -> list[Summary]:
        """Traces that hold a text in a name, an id or an attribute, whatever its case; the newest first."""
        wanted = text.casefold()
        summaries: list[Summary] = []
        for trace_id, trace in reversed(self._traces.items()):
            if len(summaries) == limit:
                break
            if not wanted or wanted in trace_id or any(_holds(span, wanted) for span, _ in trace.spans.values()):
                summaries.append(_summary(trace_id, trace))
        return sorted(summaries, key=lambda summary: summary.start_us, reverse=True)

    def spans(self, trace_id: str) -> list[Span]:
        """The spans of a trace; none when it is not known."""
        trace = self._traces.get(trace_id, _Trace())
        return [span for span, _ in trace.spans.values()]

    def summary(self, trace_id: str) -> Summary | None:
        """What there is of one trace."""
        trace = self._traces.get(trace_id)
        return _summary(trace_id, trace) if trace else None

    def _forget(self) -> None:
        limits = self._limits
        count, size = self.span_count, sum(trace.span_bytes for trace in self._traces.values())
        while len(self._traces) > limits.traces or count > limits.spans or size > limits.span_bytes:
            _, oldest = self._traces.popitem(last=False)
            count -= len(oldest.spans)
            size -= oldest.span_bytes

    def _is_full(self, trace: _Trace, more_bytes: int) -> bool:
        limits = self._limits
        return len(trace.spans) >= limits.spans_of_one or trace.span_bytes + more_bytes > limits.bytes_of_one


def _holds(span: Span, wanted: str) -> bool:
    words = (span.name, span.service, span.message, *span.attributes, *map(str, span.attributes.values()))
    return any(wanted in word.casefold() for word in words)


def _summary(trace_id: str, trace: _Trace) -> Summary:
    spans = [span for span, _ in trace.spans.values()]
    start_us, end_us = ends(spans)
    first = in_order(spans)[0].span if spans else None
    return Summary(
        trace_id=trace_id,
        name=first.name if first else "",
        service=first.service if first else "",
        about=subjects(spans),
        start_us=start_us,
        duration_us=end_us - start_us,
        spans=len(spans),
        errors=sum(span.failed for span in spans),
        dropped=trace.dropped,
    )
