"""Times and kinds of spans in words that the terminal and the observer's pages share."""

from collections.abc import Iterable
from datetime import UTC, datetime

from ragline.cli.traces.spans import Span
from ragline.common.span_names import COLD_START, DOCUMENT_ID, JOB_ID, QUEUE_WAIT, SpanKind

__all__ = ["category", "length", "moment", "subjects"]

_MOST_SUBJECTS = 4

_MS, _SECOND, _MINUTE = 1_000, 1_000_000, 60_000_000


def category(span: Span) -> str:
    """``error``, ``wait``, ``cold``, ``call`` or ``work``: what colour it has."""
    if span.failed:
        return "error"
    known = {QUEUE_WAIT: "wait", COLD_START: "cold"}
    return known.get(span.name, "call" if span.kind == SpanKind.CLIENT else "work")


def length(duration_us: int) -> str:
    """A time as people say it: ``850 µs``, ``12.3 ms``, ``4.56 s``, ``2 min 05 s``."""
    if duration_us < _MS:
        return f"{duration_us} µs"
    if duration_us < _SECOND:
        return f"{duration_us / _MS:.3g} ms" if duration_us < _SECOND - _MS / 2 else "1 s"
    if duration_us < _MINUTE:
        return f"{duration_us / _SECOND:.3g} s"
    minutes, seconds = divmod(round(duration_us / _SECOND), 60)
    return f"{minutes} min {seconds:02} s"


def moment(at_us: int) -> str:
    """A moment in UTC with milliseconds."""
    at = datetime.fromtimestamp(at_us / _SECOND, tz=UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03} UTC"


def subjects(spans: Iterable[Span]) -> list[str]:
    """The documents and jobs that the spans are about, each once; a batch's are cut short."""
    named = [str(span.attributes[name]) for span in spans for name in (DOCUMENT_ID, JOB_ID) if name in span.attributes]
    return list(dict.fromkeys(named))[:_MOST_SUBJECTS]
