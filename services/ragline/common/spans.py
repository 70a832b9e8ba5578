"""What takes time, as spans of a trace: plain objects until they are exported, so that most cost next to nothing.

A process sees a *part* of a trace: a local root (a request, a step) and what is below it. A part that is sampled is
delivered span by span as they end. Of any other the spans are kept until its root ends, and delivered if one failed.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from ragline.common.errors import ClientError, RagError
from ragline.common.identifiers import random_hex
from ragline.common.span_names import ERROR_TYPE, SpanKind, Value
from ragline.common.traceparent import is_sampled, is_traceparent, span_id_of, trace_id_of, traceparent_of

__all__ = [
    "Span",
    "Tracer",
    "active_tracer",
    "child_span",
    "current_span",
    "entered",
    "note_failure",
    "use_tracer",
]

_KEPT_SPANS = 256
"""Of a part that is not sampled, the last ones: a step of 20 s makes about a hundred."""

_TRACE_ID_SPACE = 2**64
"""The lower half of a trace id is what sampling looks at, as OpenTelemetry's own samplers do, so that several services
with the same ratio choose the same traces."""


class Span:
    """A piece of work with a beginning and an end.

    Attributes
    ----------
    parent_id
        16 hex digits; empty for the root of a trace.
    started_ns, ended_ns
        Nanoseconds since 1970; `ended_ns` is 0 until it ended.
    attributes
        Never text of documents, questions, answers, prompts or keys, but for those that say so in `span_names`.
    links
        Traceparents of other spans, with what they are to this one.
    error
        A stable code or the name of a class; empty when it did not fail.
    """

    __slots__ = (
        "_part", "attributes", "ended_ns", "error", "kind", "links", "name", "parent_id", "span_id", "started_ns",
        "trace_id",
    )  # fmt: skip

    def __init__(
        self, part: "_Part", name: str, kind: SpanKind, *, trace_id: str, parent_id: str, started_ns: int
    ) -> None:
        self._part = part
        self.name = name
        self.kind = kind
        self.trace_id = trace_id
        self.span_id = random_hex(16)
        self.parent_id = parent_id
        self.started_ns = started_ns
        self.ended_ns = 0
        self.attributes: dict[str, Value] = {}
        self.links: list[tuple[str, str]] = []
        self.error = ""

    @property
    def content(self) -> bool:
        """Whether texts may be in it."""
        return self._part.tracer.content

    @property
    def traceparent(self) -> str:
        """What whoever continues the trace is given."""
        return traceparent_of(self.trace_id, self.span_id, sampled=self._part.sampled)

    def child(self, name: str, kind: SpanKind = SpanKind.INTERNAL, *, started_ns: int = 0) -> "Span":
        """A span below this one, begun."""
        return Span(
            self._part,
            name,
            kind,
            trace_id=self.trace_id,
            parent_id=self.span_id,
            started_ns=started_ns or time.time_ns(),
        )

    def drop(self) -> None:
        """Forget it, and what is below it if it is the local root."""
        self._part.drop(self)

    def end(self, *, ended_ns: int = 0) -> None:
        """It is over; it must not be changed afterwards. Once: a second end does nothing."""
        if not self.ended_ns:
            self.ended_ns = max(self.started_ns, ended_ns or time.time_ns())
            self._part.ended(self)

    def fail(self, error: BaseException | str) -> None:
        """Note why it failed: code or class, never a message, which may quote what somebody wrote."""
        match error:
            case str():
                self.error = error
            case RagError():
                self.error = error.code
            case _:
                self.error = type(error).__name__
        self.attributes[ERROR_TYPE] = self.error


class Tracer:
    """Makes the local roots of a process.

    Parameters
    ----------
    ratio
        Share of new traces that are sampled, in [0, 1]; who continues a trace does as its caller decided.
    content
        Whether texts may be in spans.
    deliver
        Takes a span that has ended and is to be exported; must not block.
    """

    def __init__(self, *, ratio: float, content: bool, deliver: Callable[[Span], None]) -> None:
        self._bound = round(ratio * _TRACE_ID_SPACE)
        self.content = content
        self.deliver = deliver

    def root(self, name: str, kind: SpanKind, *, traceparent: str | None = None, span_id: str = "") -> Span:
        """The local root of a part, begun.

        Parameters
        ----------
        traceparent
            Of the span that caused it, maybe in another process; anything that is none begins a new trace.
        span_id
            Of a span that was begun in a process which cannot end it any more; empty for a new one.
        """
        if is_traceparent(traceparent):
            trace_id, parent_id = trace_id_of(traceparent), span_id_of(traceparent)
            sampled = is_sampled(traceparent)
        else:
            trace_id, parent_id = random_hex(32), ""
            sampled = self.samples(trace_id)
        part = _Part(self, sampled=sampled)
        root = Span(part, name, kind, trace_id=trace_id, parent_id=parent_id, started_ns=time.time_ns())
        root.span_id = span_id or root.span_id
        part.root_id = root.span_id
        return root

    def samples(self, trace_id: str) -> bool:
        """Whether a new trace with this id is to be sampled."""
        return int(trace_id[16:], 16) < self._bound


class _Part:
    """What one process sees of a trace. Threads may end spans of it at the same time.

    It knows its root by name alone: two objects that hold each other would be left to the garbage collector, for each
    request.
    """

    __slots__ = ("_dropped", "_failed", "_kept", "_over", "root_id", "sampled", "tracer")

    def __init__(self, tracer: Tracer, *, sampled: bool) -> None:
        self.tracer = tracer
        self.sampled = sampled
        self._kept: deque[Span] = deque(maxlen=_KEPT_SPANS)
        self._failed = False
        self._dropped = False
        self._over = False
        self.root_id = ""

    def drop(self, span: Span) -> None:
        if span.span_id == self.root_id:
            self._dropped = True
            self._kept.clear()
        span.ended_ns = span.started_ns

    def ended(self, span: Span) -> None:
        if self._dropped:
            return
        self._failed = self._failed or bool(span.error)
        # What ends after its root, such as a request that nobody waits for any more, is not kept for anything.
        if self.sampled or (self._over and self._failed):
            self.tracer.deliver(span)
            return
        self._kept.append(span)
        self._over = self._over or span.span_id == self.root_id
        if self._over:
            # Taken out at one go: another thread may end one of them in this moment.
            kept, self._kept = self._kept, deque(maxlen=_KEPT_SPANS)
            for each in kept if self._failed else ():
                self.tracer.deliver(each)


_tracer: Tracer | None = None
_current: ContextVar[Span | None] = ContextVar("ragline_span", default=None)


def active_tracer() -> Tracer | None:
    """The process's tracer; None when nothing is traced."""
    return _tracer


def use_tracer(tracer: Tracer | None) -> None:
    """Trace with it from now on, or not at all."""
    global _tracer  # noqa: PLW0603 - one a process, like its log
    _tracer = tracer


def current_span() -> Span | None:
    """What this thread or task is at work on, if that is traced."""
    return _current.get()


@contextmanager
def entered(span: Span) -> Iterator[Span]:
    """Make a span the current one for the body, and end it with the body.

    What the body raises fails it, but for a caller's mistake: with a flood of those, all of them would be kept.
    """
    token = _current.set(span)
    try:
        yield span
    except BaseException as error:
        if isinstance(error, Exception) and not isinstance(error, ClientError) and not span.error:
            span.fail(error)
        raise
    finally:
        _current.reset(token)
        span.end()


@contextmanager
def child_span(name: str, attributes: Mapping[str, Value] | None = None) -> Iterator[Span | None]:
    """A span below the current one for the body; nothing when there is no current one."""
    parent = _current.get()
    if parent is None:
        yield None
        return
    span = parent.child(name)
    if attributes:
        span.attributes.update(attributes)
    with entered(span):
        yield span


def note_failure(error: BaseException) -> None:
    """Fail the current span, if there is one."""
    if (span := _current.get()) is not None:
        span.fail(error)


def _forget() -> None:
    """In the child of a fork: the tracer's thread is the parent's, and so are the spans that are under way."""
    use_tracer(None)
    _current.set(None)


os.register_at_fork(after_in_child=_forget)
