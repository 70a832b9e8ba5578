import json
from typing import Any

import httpx2
import pytest

from ragline.cli.failures import ApiFailure
from ragline.cli.traces.ledger import spans_of_job
from ragline.cli.traces.spans import Span
from ragline.common.span_names import ATTEMPT, DOCUMENT_ID, JOB_ID, MESSAGING_DESTINATION

START_MS = 1_764_000_000_000
NOW_US = (START_MS + 60_000) * 1000


def event(at_ms: int, kind: str, **data: object) -> httpx2.ServerSentEvent:
    return httpx2.ServerSentEvent(event=kind, data=json.dumps(data), id=f"{START_MS + at_ms}-0")


def job(**fields: object) -> dict[str, Any]:
    plain = {
        "id": "job_1",
        "kind": "ingest",
        "status": "running",
        "queue": "document",
        "trace_id": "a" * 32,
        "created_at": "2025-11-24T16:00:00Z",
    }
    return {**plain, **fields}


def told(spans: list[Span]) -> list[tuple[str, int, int]]:
    """Name, begin and end in milliseconds after the start."""
    return [(span.name, span.start_us // 1000 - START_MS, span.end_us // 1000 - START_MS) for span in spans]


UPLOAD = [
    event(1500, "progress", step="convert", attempt=1, waited_ms=1500, cold=True),
    event(2000, "progress", step="convert", done=12, total=12, unit="pages"),
    event(2600, "progress", step="split", attempt=1, waited_ms=100),
    event(2900, "progress", step="index", attempt=1, waited_ms=100),
    event(4000, "done", state="succeeded"),
]


def test_waits_and_steps_of_an_upload_are_told() -> None:
    ended = job(status="succeeded", finished_at="2025-11-24T16:00:04Z", document_id="doc_1")
    spans = spans_of_job(ended, UPLOAD, now_us=NOW_US)
    assert told(spans) == [
        ("ingest", 0, 4000),
        ("queue wait", 0, 1500),
        ("convert", 1500, 2500),
        ("queue wait", 2500, 2600),
        ("split", 2600, 2800),
        ("queue wait", 2800, 2900),
        ("index", 2900, 4000),
    ]
    assert len({span.span_id for span in spans}) == 7
    assert {span.parent_id for span in spans[1:]} == {spans[0].span_id}
    assert spans[0].attributes == {JOB_ID: "job_1", DOCUMENT_ID: "doc_1", "state": "succeeded"}
    assert spans[1].attributes == {MESSAGING_DESTINATION: "document", "step": "convert", ATTEMPT: 1, "cold": True}
    assert spans[2].attributes["progress"] == "12 of 12 pages"
    assert spans[6].attributes[MESSAGING_DESTINATION] == "vectorstore"
    assert not any(span.failed for span in spans)


def test_an_attempt_that_another_followed_has_failed() -> None:
    events = [
        event(100, "progress", step="convert", attempt=1, waited_ms=100),
        event(9000, "progress", step="convert", attempt=2, waited_ms=500),
        event(9900, "error", code="quarantined", detail="lost"),
        event(9900, "done", state="failed"),
    ]
    error = {"code": "quarantined", "title": "t", "detail": "lost"}
    spans = spans_of_job(job(status="failed", finished_at="2025-11-24T16:00:09.9Z", error=error), events, now_us=NOW_US)
    assert told(spans)[2:] == [("convert", 100, 8500), ("queue wait", 8500, 9000), ("convert", 9000, 9900)]
    assert [(span.failed, span.message) for span in spans] == [
        (True, "quarantined: lost"),
        (False, ""),
        (True, "another attempt had to follow"),
        (False, ""),
        (True, "quarantined: lost"),
    ]


def test_a_step_that_handed_back_has_not_failed() -> None:
    events = [
        event(100, "progress", step="index", attempt=1, waited_ms=100),
        event(20_000, "progress", step="index", attempt=1, waited_ms=500),
    ]
    spans = spans_of_job(job(), events, now_us=NOW_US)
    assert not any(span.failed for span in spans)
    assert told(spans)[-1] == ("index", 20_000, 60_000)


def test_a_job_that_waits_says_how_long_it_has() -> None:
    spans = spans_of_job(job(status="queued", queue_position=7), [], now_us=NOW_US)
    assert told(spans) == [("ingest", 0, 60_000), ("queue wait", 0, 60_000)]
    assert spans[1].attributes == {MESSAGING_DESTINATION: "document", "position": 7}
    later = spans_of_job(job(queue="vectorstore", queue_position=0), UPLOAD[:2], now_us=NOW_US)
    assert told(later)[-2:] == [("convert", 1500, 2000), ("queue wait", 2000, 60_000)]


def test_an_answer_tells_its_first_token_and_what_it_used() -> None:
    events = [
        event(10, "progress", step="answer", attempt=1, waited_ms=10),
        event(400, "token", text="26"),
        event(450, "token", text=" weeks"),
        event(500, "citation", document="a.pdf"),
        event(500, "usage", prompt_tokens=20, completion_tokens=3),
        event(510, "done", state="succeeded"),
    ]
    spans = spans_of_job(job(kind="query", status="succeeded", finished_at="2025-11-24T16:00:00.51Z"), events, now_us=0)
    answer = spans[-1]
    assert [(moment.name, moment.at_us // 1000 - START_MS) for moment in answer.moments] == [("first token", 400)]
    assert {key: answer.attributes[key] for key in ("citations", "prompt_tokens", "completion_tokens")} == {
        "citations": 1,
        "prompt_tokens": 20,
        "completion_tokens": 3,
    }


def test_a_service_that_does_not_say_how_long_steps_waited_still_has_its_steps() -> None:
    spans = spans_of_job(job(), [event(100, "progress", step="convert", attempt=1)], now_us=NOW_US)
    assert told(spans) == [("ingest", 0, 60_000), ("convert", 100, 60_000)]


def test_an_unknown_step_has_no_queue() -> None:
    spans = spans_of_job(job(), [event(1, "progress", step="future", attempt=1, waited_ms=0)], now_us=NOW_US)
    assert spans[-1].attributes == {"step": "future", ATTEMPT: 1}


def test_what_is_no_job_is_a_failure() -> None:
    with pytest.raises(ApiFailure, match="not understood"):
        spans_of_job({"id": "job_1"}, [], now_us=0)
