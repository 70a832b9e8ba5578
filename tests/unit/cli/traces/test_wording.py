import pytest

from ragline.cli.traces.spans import Span
from ragline.cli.traces.wording import category, length, moment


@pytest.mark.parametrize(
    ("duration_us", "said"),
    [
        (0, "0 µs"),
        (850, "850 µs"),
        (12_345, "12.3 ms"),
        (999_999, "1 s"),
        (4_560_000, "4.56 s"),
        (59_900_000, "59.9 s"),
        (125_000_000, "2 min 05 s"),
    ],
)
def test_lengths_are_short(duration_us: int, said: str) -> None:
    assert length(duration_us) == said


def test_moments_are_in_utc() -> None:
    assert moment(1_764_000_000_123_456) == "2025-11-24 16:00:00.123 UTC"


@pytest.mark.parametrize(
    ("name", "kind", "failed", "expected"),
    [
        ("queue wait", "internal", False, "wait"),
        ("cold start", "internal", False, "cold"),
        ("chroma query", "client", False, "call"),
        ("chroma query", "client", True, "error"),
        ("convert", "internal", False, "work"),
    ],
)
def test_kinds_of_spans_can_be_told_apart(name: str, kind: str, failed: bool, expected: str) -> None:
    span = Span(trace_id="t", span_id="s", name=name, kind=kind, failed=failed, start_us=0, end_us=1)
    assert category(span) == expected
