import httpx2
import pytest

from clients.python.tests.conftest import MakeClient
from clients.python.tests.fake import FakeApi, broken_events, events, problem
from ragline_client import (
    Answer,
    ApiError,
    Citation,
    CitationEvent,
    ConnectionFailed,
    DoneEvent,
    JobFailed,
    ProgressEvent,
    RaglineError,
    TokenEvent,
    UnexpectedReply,
    Usage,
    UsageEvent,
)

QUERY = "POST /v1/collections/papers/queries"
EVENTS = "GET /v1/jobs/job_1/events"
CANCEL = "DELETE /v1/jobs/job_1"
CITED = {"document_id": "doc_1", "document": "a.pdf", "page": 2, "quote": "Because."}
CITATION = Citation(document_id="doc_1", document="a.pdf", page=2, quote="Because.")
BEGIN = ("progress", {"step": "answer", "attempt": 1})
DONE = ("done", {"state": "succeeded"})


def token(text: str) -> tuple[str, dict[str, str]]:
    return "token", {"text": text}


def test_an_answer_comes_as_events_and_is_whole_at_the_end(make_client: MakeClient) -> None:
    frames = [BEGIN, token("Be"), token("cause."), ("citation", CITED), ("usage", {"prompt_tokens": 9}), DONE]
    api = FakeApi({QUERY: [events(*frames)]})

    stream = make_client(api).stream("papers", "Why?", top_k=3)

    assert list(stream) == [
        ProgressEvent(step="answer", attempt=1),
        TokenEvent(text="Be"),
        TokenEvent(text="cause."),
        CitationEvent(citation=CITATION),
        UsageEvent(usage=Usage(prompt_tokens=9)),
        DoneEvent(state="succeeded"),
    ]
    assert stream.answer() == Answer(
        job_id="job_1", text="Because.", answered=True, citations=(CITATION,), usage=Usage(prompt_tokens=9)
    )
    assert api.sent("Accept") == ["text/event-stream"]
    assert api.requests[0].content == b'{"question":"Why?","top_k":3}'
    assert api.requests[0].headers["Idempotency-Key"]


def test_the_answer_alone_needs_no_loop(make_client: MakeClient) -> None:
    api = FakeApi({QUERY: [events(BEGIN, token("No idea."), DONE)]})

    answer = make_client(api).stream("papers", "Why?").answer()

    assert (answer.text, answer.answered, answer.citations) == ("No idea.", False, ())


def test_the_text_begins_anew_with_another_worker(make_client: MakeClient) -> None:
    again = ("progress", {"step": "answer", "attempt": 1})
    frames = [BEGIN, token("Half of"), ("citation", CITED), again, token("All."), ("citation", CITED), DONE]

    answer = make_client(FakeApi({QUERY: [events(*frames)]})).stream("papers", "Why?").answer()

    assert (answer.text, answer.citations) == ("All.", (CITATION,))


def test_a_broken_stream_goes_on_where_it_broke(make_client: MakeClient) -> None:
    api = FakeApi(
        {
            QUERY: [broken_events(BEGIN, token("Be"))],
            EVENTS: [broken_events(token("cau"), first=3), events(token("se."), DONE, first=4)],
        }
    )

    assert make_client(api, max_retries=1).stream("papers", "Why?").answer().text == "Because."

    assert api.sent("Last-Event-ID") == [None, "2-0", "3-0"]
    assert len(api.pauses) == 2


def test_a_stream_that_ends_early_is_a_broken_one(make_client: MakeClient) -> None:
    api = FakeApi({EVENTS: [events(BEGIN), events(DONE, first=2)]})

    assert list(make_client(api).events("job_1"))[-1] == DoneEvent(state="succeeded")

    assert api.sent("Last-Event-ID") == [None, "1-0"]


def test_a_stream_that_falls_silent_is_a_broken_one(make_client: MakeClient) -> None:
    api = FakeApi(
        {
            QUERY: [broken_events(BEGIN, token("Yes."), error=httpx2.ReadTimeout("silent"))],
            EVENTS: [events(DONE, first=3)],
        }
    )

    assert make_client(api).stream("papers", "Why?").answer().text == "Yes."


def test_a_stream_that_never_opens_is_given_up(make_client: MakeClient) -> None:
    api = FakeApi({EVENTS: [httpx2.ConnectError("refused")]})

    with pytest.raises(ConnectionFailed):
        list(make_client(api, max_retries=3).events("job_1"))

    assert len(api.requests) == 4


def test_a_stream_without_anything_new_is_given_up(make_client: MakeClient) -> None:
    api = FakeApi({EVENTS: [broken_events(BEGIN), broken_events()]})

    with pytest.raises(ConnectionFailed):
        list(make_client(api, max_retries=3).events("job_1"))

    assert len(api.requests) == 4


def test_a_busy_service_is_given_time_in_front_of_a_stream(make_client: MakeClient) -> None:
    api = FakeApi({QUERY: [problem(429, retry_after="3"), events(BEGIN, token("Yes."), DONE)]})

    assert make_client(api).stream("papers", "Why?").answer().text == "Yes."

    assert api.pauses == [3]
    assert len(set(api.sent("Idempotency-Key"))) == 1


def test_a_refusal_in_front_of_a_stream_is_an_error(make_client: MakeClient) -> None:
    with pytest.raises(ApiError) as failure:
        list(make_client(FakeApi({QUERY: [problem(404, "not_found")]})).stream("papers", "Why?"))

    assert failure.value.code == "not_found"


def test_a_failed_question_raises_why(make_client: MakeClient) -> None:
    failed = ("error", {"code": "dependency_rejected", "detail": "the model refused"})
    stream = make_client(FakeApi({QUERY: [events(BEGIN, failed, ("done", {"state": "failed"}))]})).stream("papers", "?")

    with pytest.raises(JobFailed, match="the model refused") as failure:
        list(stream)

    assert (failure.value.code, failure.value.job_id) == ("dependency_rejected", "job_1")
    with pytest.raises(RaglineError, match="There is no answer"):
        stream.answer()


def test_an_error_of_the_stream_alone_is_got_over(make_client: MakeClient) -> None:
    away = ("error", {"code": "dependency_unavailable", "detail": "redis is away"})
    api = FakeApi({QUERY: [events(BEGIN, away)], EVENTS: [events(token("Yes."), DONE, first=2)]})

    assert make_client(api).stream("papers", "Why?").answer().text == "Yes."


def test_an_error_that_stays_is_told_in_the_services_words(make_client: MakeClient) -> None:
    away = ("error", {"code": "dependency_unavailable", "detail": "redis is away", "retryable": True})
    api = FakeApi({EVENTS: [events(away)]})

    with pytest.raises(JobFailed, match="redis is away") as failure:
        list(make_client(api, max_retries=2).events("job_1"))

    assert failure.value.retryable
    assert len(api.requests) == 3


def test_a_question_that_was_cancelled_because_its_stream_broke_is_told_so(make_client: MakeClient) -> None:
    api = FakeApi({QUERY: [broken_events(BEGIN)], EVENTS: [events(("done", {"state": "cancelled"}), first=2)]})

    with pytest.raises(ConnectionFailed, match="stream broke"):
        list(make_client(api).stream("papers", "Why?"))

    assert len(api.requests) == 2


def test_a_job_that_was_cancelled_raises(make_client: MakeClient) -> None:
    api = FakeApi({EVENTS: [events(BEGIN, ("done", {"state": "cancelled"}))]})

    with pytest.raises(JobFailed) as failure:
        list(make_client(api).events("job_1"))

    assert failure.value.code == "cancelled"


def test_events_of_a_newer_service_are_passed_over(make_client: MakeClient) -> None:
    api = FakeApi({EVENTS: [events(("thought", {"text": "hm"}), ("token", {"text": "Yes.", "colour": "blue"}), DONE)]})

    assert list(make_client(api).events("job_1")) == [TokenEvent(text="Yes."), DoneEvent(state="succeeded")]


@pytest.mark.parametrize("data", [[], "text", {"text": 5}, {}])
def test_an_event_that_is_none_is_said_plainly(make_client: MakeClient, data: object) -> None:
    with pytest.raises(UnexpectedReply):
        list(make_client(FakeApi({EVENTS: [events(("token", data))]})).events("job_1"))


def test_an_event_without_json_is_said_plainly(make_client: MakeClient) -> None:
    torn = httpx2.Response(200, headers={"Content-Type": "text/event-stream"}, content='event: token\ndata: {"text\n\n')

    with pytest.raises(UnexpectedReply, match="'token'"):
        list(make_client(FakeApi({EVENTS: [torn]})).events("job_1"))


def test_progress_inside_a_step_leaves_the_text(make_client: MakeClient) -> None:
    further = ("progress", {"step": "answer", "done": 1, "total": 2, "unit": "passages"})
    api = FakeApi({QUERY: [events(BEGIN, token("Be"), further, token("cause."), DONE)]})

    assert make_client(api).stream("papers", "Why?").answer().text == "Because."


def test_an_answer_that_was_left_is_cancelled_and_not_taken_for_a_whole_one(make_client: MakeClient) -> None:
    answer = [events(BEGIN, token("Be"), token("cause."), DONE)]
    api = FakeApi({QUERY: answer, CANCEL: [httpx2.Response(202, json={"id": "job_1", "status": "cancelled"})]})
    stream = make_client(api).stream("papers", "?")
    events_of_it = iter(stream)
    next(events_of_it), next(events_of_it)

    stream.close()
    stream.close()

    with pytest.raises(RaglineError, match="There is no answer"):
        stream.answer()
    assert [request.method for request in api.requests] == ["POST", "DELETE"]


def test_an_answer_that_was_read_is_not_cancelled(make_client: MakeClient) -> None:
    api = FakeApi({QUERY: [events(BEGIN, token("Yes."), DONE)]})
    stream = make_client(api).stream("papers", "?")
    stream.answer()

    stream.close()

    assert len(api.requests) == 1


def test_a_service_that_is_away_does_not_keep_who_leaves(make_client: MakeClient) -> None:
    api = FakeApi({QUERY: [events(BEGIN, token("Be"), DONE)], CANCEL: [httpx2.ConnectError("refused")]})
    stream = make_client(api).stream("papers", "?")
    next(iter(stream))

    stream.close()

    assert max(api.pauses, default=0) <= 2
