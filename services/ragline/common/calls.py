"""The one hook around every call of another part: a client span when that is traced, and a measurement."""

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TypeAlias

from ragline.common.errors import ProtocolError, RagError, RejectedError, TransientError
from ragline.common.span_names import Dependency, SpanKind, Value, call_name
from ragline.common.spans import Span, current_span

__all__ = ["Call", "CallSink", "call_outcome", "called", "measure_calls"]

CallSink: TypeAlias = Callable[[Dependency, str, str, float], None]
"""Takes dependency, operation, outcome (see `call_outcome`) and seconds of a call that ended. It must not block."""

_sinks: list[CallSink] = []


class Call:
    """A call under way; a context manager, made by `called`. Its span is never the current one: it has no children."""

    __slots__ = ("_attributes", "_dependency", "_operation", "_span", "_started")

    def __init__(self, dependency: Dependency, operation: str, attributes: Mapping[str, Value] | None) -> None:
        self._dependency = dependency
        self._operation = operation
        self._attributes = attributes
        self._span: Span | None = None

    def __enter__(self) -> Self:
        """Begin."""
        parent = current_span()
        # Redis is asked too often, and each change of the ledger has a span of its own.
        if parent is not None and self._dependency is not Dependency.REDIS:
            attributes = self._attributes or {}
            name = call_name(self._dependency, self._operation, attributes)
            self._span = parent.child(name, SpanKind.CLIENT)
            self._span.attributes.update(attributes)
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        seconds = time.perf_counter() - self._started
        outcome = call_outcome(error)
        for sink in _sinks:
            sink(self._dependency, self._operation, outcome, seconds)
        if self._span is not None:
            if error is not None and outcome != "abandoned":
                self._span.fail(error)
            self._span.end()

    @property
    def content(self) -> bool:
        """Whether somebody wants to see texts; when not, none need be prepared."""
        return self._span is not None and self._span.content

    def note(self, attributes: Mapping[str, Value]) -> None:
        """Add what is known by now."""
        if self._span is not None:
            self._span.attributes.update(attributes)


def called(dependency: Dependency, operation: str, attributes: Mapping[str, Value] | None = None) -> Call:
    """Around a call of another part.

    Goes around what turns a library's errors into ours, so that it sees ours.

    Parameters
    ----------
    operation
        What is asked; one of few words, for it is a label of metrics.
    attributes
        What its span says, under names from `span_names`.

    Returns
    -------
    Call
        A context manager, for one use.
    """
    return Call(dependency, operation, attributes)


def call_outcome(error: BaseException | None) -> str:
    """How a call ended.

    Returns
    -------
    str
        ``ok``; ``transient``, ``rejected`` or ``protocol`` after the kind of `DependencyError`; ``abandoned`` when
        whoever called went away in the middle of it, or stopped it for a reason of theirs; ``defect`` for anything
        else.
    """
    match error:
        case None:
            return "ok"
        case TransientError():
            return "transient"
        case RejectedError():
            return "rejected"
        case ProtocolError():
            return "protocol"
        case Exception() if not isinstance(error, RagError):
            return "defect"
        case _:
            return "abandoned"


def measure_calls(sink: CallSink) -> Callable[[], None]:
    """Have every call of this process measured.

    Returns
    -------
    Callable
        Ends it.
    """
    _sinks.append(sink)
    return lambda: _sinks.remove(sink)
