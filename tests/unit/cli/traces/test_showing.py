import io

from rich.console import Console

from ragline.cli.traces.finding import FoundTrace
from ragline.cli.traces.showing import print_trace, trace_as_json
from ragline.cli.traces.spans import Link, Moment, Span
from ragline.common.span_names import DOCUMENT_ID, JOB_ID

START_US = 1_764_000_000_000_000


def span(own: str, parent: str, name: str, start_ms: int, end_ms: int, **fields: object) -> Span:
    plain = {"trace_id": "t", "span_id": own, "parent_id": parent, "name": name, "service": "ragline-worker"}
    times = {"start_us": START_US + start_ms * 1000, "end_us": START_US + end_ms * 1000}
    return Span(**{**plain, **times, **fields})  # type: ignore[arg-type] # fields of the class


SPANS = (
    span("1", "", "POST", 0, 1000, service="ragline-api", attributes={JOB_ID: "job_1", DOCUMENT_ID: "doc_1"}),
    span("2", "1", "queue wait", 0, 500, attributes={"messaging.destination.name": "document", "ragline.secret": "no"}),
    span("3", "1", "convert", 500, 750, failed=True, message="lost", attributes={"ragline.attempt": 1}),
    span("4", "3", "chroma query", 600, 601, kind="client"),
    span("5", "1", "convert", 800, 1000, links=(Link(trace_id="t", span_id="3"), Link(trace_id="u", span_id="9"))),
    span("6", "5", "chat", 900, 901, moments=(Moment(at_us=START_US + 900_500, name="first token"),)),
)


def shown(*spans: Span, source: str = "ledger") -> list[str]:
    console = Console(width=160, file=io.StringIO(), color_system=None)
    print_trace(FoundTrace(trace_id="t", source=source, spans=spans, notes=("a note",)), console)
    output = console.file
    assert isinstance(output, io.StringIO)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_the_tree_has_lines_bars_and_details() -> None:
    lines = shown(*SPANS)
    assert lines[0] == "a note"
    assert lines[1] == "trace t: 2025-11-24 16:00:00.000 UTC, 1 s, 6 spans, 1 with errors"
    assert (
        lines[2] == "about doc_1, job_1; from the ledger's own timings: waits and steps, without the calls within them"
    )
    rows = lines[4:]
    assert [row.partition("+")[0].rstrip() for row in rows] == [
        "POST api",
        "├ queue wait worker",
        "├ convert worker",
        "│ └ chroma query",
        "└ convert worker",
        "  └ chat",
    ]
    assert rows[0].count("█") == 28
    assert rows[1].count("█") == 14
    assert rows[1].endswith("500 ms queue=document")
    assert rows[2].endswith("250 ms lost attempt=1")
    assert "▏" in rows[3]
    assert "linked to convert 3, linked to trace u 9" in rows[4]
    assert "first token after 500 µs" in rows[5]
    assert not any("secret" in row for row in rows)


def test_an_address_is_named_as_the_source() -> None:
    assert shown(*SPANS, source="http://localhost:16686")[2] == "about doc_1, job_1; from http://localhost:16686"


def test_a_bar_stays_within_its_column_whatever_the_clocks_say() -> None:
    lines = shown(span("1", "", "POST", 0, 100), span("2", "1", "late", 100, 100), span("3", "1", "back", 90, 80))
    assert all(len(line) <= 160 for line in lines)
    assert sum("▏" in line for line in lines) == 2


def test_programs_get_every_attribute() -> None:
    written = trace_as_json(FoundTrace(trace_id="t", source="ledger", spans=SPANS))
    assert written["spans"][1]["attributes"]["ragline.secret"] == "no"
    assert list(written["spans"][4]["links"]) == [{"trace_id": "t", "span_id": "3"}, {"trace_id": "u", "span_id": "9"}]
    assert [one["duration_us"] for one in written["spans"][:3]] == [1_000_000, 500_000, 250_000]
