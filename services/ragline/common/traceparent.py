"""The header ``traceparent``: which trace, which span of it, and whether that is sampled.

Format: W3C Trace Context, https://www.w3.org/TR/trace-context/#traceparent-header.
"""

import re
from typing import TypeGuard

__all__ = ["is_sampled", "is_traceparent", "span_id_of", "trace_id_of", "traceparent_of"]

_PATTERN = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_SAMPLED = 1
"""A bit of the flags."""


def traceparent_of(trace_id: str, span_id: str, *, sampled: bool) -> str:
    """The header that names this span."""
    return f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}"


def is_traceparent(text: str | None) -> TypeGuard[str]:
    """Whether it is one of the version that is known here."""
    return text is not None and _PATTERN.fullmatch(text) is not None


def trace_id_of(traceparent: str) -> str:
    """32 hex digits; empty for an empty one."""
    return traceparent[3:35]


def span_id_of(traceparent: str) -> str:
    """16 hex digits; empty for an empty one."""
    return traceparent[36:52]


def is_sampled(traceparent: str) -> bool:
    """Whether its sender has its own part of the trace exported."""
    return bool(int(traceparent[53:], 16) & _SAMPLED)
