"""Whole traces of the real service, as a collector gets them, and what a collector that does not work costs."""

import signal
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from ragline.common.queues import Queue
from tests.support import pdfs
from tests.support.collector import Collector, Received, collector
from tests.support.openai_stub import OpenAIStub, Reply
from tests.support.stack import Stack, running_stack
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(180)

UPLOAD = """\
POST /v1/collections/{name}/documents
  object_store put
  accept
  queue wait
    cold start
  convert
    claim
    object_store get
    object_store put
  queue wait
  split
    claim
    object_store list
    object_store get
    object_store put
  queue wait
  index
    claim
    object_store get
    chroma look up
    object_store list
    object_store get
    embeddings stub-embed
  queue wait
  index
    claim
    object_store get
    chroma look up
    object_store list
    object_store get
    embeddings stub-embed
    chroma add
    chroma list"""

QUESTION = """\
POST /v1/collections/{name}/queries
  accept
  queue wait
  answer
    claim
    embeddings stub-embed
    chroma query
    object_store get
    chat stub-chat"""

SERVER_ERROR = Reply(status=503)
NOT_SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"

_QUICK_SECONDS = 2.0
"""An upload takes some 10 ms. A collector that holds up nobody adds nothing, one that does adds its 2 s timeout."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[Collector]:
    with collector() as running:
        yield running


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, stub_server: OpenAIStub, receiver: Collector) -> Iterator[Stack]:
    """A service whose models are the stub, and whose spans go to the receiver."""
    with running_stack(tmp_path_factory.mktemp("traces"), _settings(stub_server, receiver.url)) as running:
        yield running


def _settings(stub: OpenAIStub, endpoint: str) -> dict[str, str]:
    return {
        "ANSWER_CACHE_SECONDS": "0",
        "EMBEDDER": "openai",
        "EMBEDDING_MODEL": "stub-embed",
        "LLM_MODEL": "stub-chat",
        "OPENAI_API_KEY": "sk-1",
        "OPENAI_BASE_URL": stub.url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
    }


def _post(stack: Stack, collection: str, text: str) -> httpx2.Response:
    files = {"file": (f"{text}.pdf", pdfs.text_pdf([text]))}
    reply = stack.client.post(f"/v1/collections/{collection}/documents", files=files)
    assert reply.status_code == 202, reply.text
    return reply


def _ask(stack: Stack, collection: str, **headers: str) -> httpx2.Response:
    body = {"question": "How do otters sleep?"}
    return stack.client.post(f"/v1/collections/{collection}/queries", json=body, headers=headers)


def _trace_of(reply: httpx2.Response) -> str:
    return reply.headers["traceparent"][3:35]


def _wait_for(receiver: Collector, trace_id: str, there: Callable[[list[Received]], bool]) -> list[Received]:
    wait_until(lambda: there(receiver.spans(trace_id)), timeout_seconds=20)
    return receiver.spans(trace_id)


def _says(stack: Stack, event: str) -> bool:
    """Whether the API has logged it by now; it has something to export in any case."""
    assert stack.client.get("/v1/collections").is_success
    return event in stack.api.log.read_text()


def _named(spans: list[Received], name: str) -> list[Received]:
    return [span for span in spans if span.name == name]


@pytest.fixture(scope="module")
def uploaded(stack: Stack, stub_server: OpenAIStub, receiver: Collector) -> tuple[str, list[Received]]:
    """The trace of an upload whose queue had no worker, and whose model was away when it was asked first."""
    stub_server.reset()
    document = stack.workers[Queue.DOCUMENT]
    document.stop()
    wait_until(lambda: not stack.workers_alive()[Queue.DOCUMENT], timeout_seconds=20)
    stub_server.answer(SERVER_ERROR)
    reply = _post(stack, "otters", "Otters sleep in rafts.")
    document.restart()
    job = stack.finished_job(reply.json()["job_id"])
    assert (job["status"], job["trace_id"]) == ("succeeded", _trace_of(reply))
    return job["id"], _wait_for(
        receiver, job["trace_id"], lambda spans: [s.failed for s in _named(spans, "index")] == [True, False]
    )


def test_an_upload_is_one_trace(uploaded: tuple[str, list[Received]], receiver: Collector) -> None:
    _, spans = uploaded
    assert "\n".join(receiver.tree(spans[0].trace_id)) == UPLOAD
    assert {span.name: span.service for span in spans if span.kind in {"server", "consumer"}} == {
        "POST /v1/collections/{name}/documents": "ragline-api",
        "convert": "ragline-worker-document",
        "split": "ragline-worker-document",
        "index": "ragline-worker-vectorstore",
    }
    assert {span.kind for span in spans if span.name.startswith(("chroma ", "object_store ", "embeddings "))} == {
        "client"
    }


def test_a_wait_for_a_worker_that_had_to_be_started_is_told_apart(uploaded: tuple[str, list[Received]]) -> None:
    _, spans = uploaded
    [start] = _named(spans, "cold start")
    [accept], [convert] = _named(spans, "accept"), _named(spans, "convert")
    wait = _named(spans, "queue wait")[0]
    assert (wait.started, start.parent_id) == (start.started, wait.span_id)
    # The worker's start takes a second; what is left is its first look at the queue.
    assert accept.started - 50e6 < wait.started < accept.ended + 50e6
    assert 0.5 * (wait.ended - wait.started) < start.ended - start.started <= wait.ended - wait.started
    assert abs(wait.ended - convert.started) < 100e6


def test_an_attempt_is_linked_to_the_one_before(uploaded: tuple[str, list[Received]]) -> None:
    job_id, spans = uploaded
    first, second = _named(spans, "index")
    assert (first.links, second.links) == ((), (first.span_id,))
    assert [span.attributes["ragline.attempt"] for span in (first, second)] == [1, 2]
    assert [span.attributes["ragline.outcome"] for span in (first, second)] == ["retried", "done"]
    assert first.attributes["error.type"] == "dependency_unavailable"
    assert {span.attributes["ragline.job_id"] for span in (first, second)} == {job_id}
    asked = _named(spans, "embeddings stub-embed")
    assert [(span.failed, span.parent_id) for span in asked] == [(True, first.span_id), (False, second.span_id)]


def test_a_question_is_one_trace(stack: Stack, stub: OpenAIStub, receiver: Collector) -> None:
    job_id = _post(stack, "herons", "Herons stand on one leg.").json()["job_id"]
    assert stack.finished_job(job_id)["status"] == "succeeded"
    # Of a collection that nobody has asked before: a worker remembers manifests.
    reply = _ask(stack, "herons")
    assert reply.status_code == 200, reply.text
    spans = _wait_for(receiver, _trace_of(reply), lambda spans: len(spans) == len(QUESTION.splitlines()))
    assert "\n".join(receiver.tree(_trace_of(reply))) == QUESTION
    [chat] = _named(spans, "chat stub-chat")
    assert {name: value for name, value in chat.attributes.items() if name.startswith("gen_ai.")} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "stub-chat",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 4,
    }


def test_a_question_that_failed_is_kept_though_its_trace_is_not_sampled(
    stack: Stack, stub: OpenAIStub, receiver: Collector, uploaded: tuple[str, list[Received]]
) -> None:
    trace_id = NOT_SAMPLED[3:35]
    assert _ask(stack, "otters", traceparent=NOT_SAMPLED).status_code == 200
    stub.answer(Reply(), *[SERVER_ERROR] * 3)
    # The first answer is the embedding's.
    assert _ask(stack, "otters", traceparent=NOT_SAMPLED).status_code == 503

    def complete(spans: list[Received]) -> bool:
        names = [span.name for span in spans]
        return "POST /v1/collections/{name}/queries" in names and names.count("answer") >= 2

    spans = _wait_for(receiver, trace_id, complete)
    assert all(span.failed for span in spans if span.kind in {"server", "consumer"})
    assert len(_named(spans, "POST /v1/collections/{name}/queries")) == 1


def test_every_log_line_of_a_request_and_its_steps_has_its_trace(
    stack: Stack, uploaded: tuple[str, list[Received]]
) -> None:
    job_id, spans = uploaded
    lines = [line for path in stack.folder.glob("*.log") for line in path.read_text().splitlines() if job_id in line]
    assert len(lines) >= 5
    about = [line for line in lines if '"event": "request"' not in line]
    assert [line for line in about if spans[0].trace_id not in line] == []


def test_a_collector_that_hangs_holds_up_nothing(
    stack: Stack, stub: OpenAIStub, receiver: Collector, uploaded: tuple[str, list[Received]]
) -> None:
    receiver.hangs.set()
    seconds = []
    replies = []
    for number in range(20):
        started = time.monotonic()
        replies.append(_post(stack, "hanging", f"Heron number {number} stands on one leg."))
        seconds.append(time.monotonic() - started)
    jobs = [stack.finished_job(reply.json()["job_id"]) for reply in replies]
    assert {job["status"] for job in jobs} == {"succeeded"}
    assert statistics.median(seconds) < _QUICK_SECONDS / 4
    assert max(seconds) < _QUICK_SECONDS
    rag = stack.workers[Queue.RAG]
    assert _ask(stack, "otters").status_code == 200
    started = time.monotonic()
    assert rag.stop() == 0
    # Celery's own end takes a second or two; the flush adds at most two.
    assert time.monotonic() - started < 10
    rag.restart()
    receiver.hangs.clear()
    receiver.goes_on.set()
    wait_until(lambda: _says(stack, "spans exported again"), timeout_seconds=30)
    wait_until(lambda: bool(stack.workers_alive()[Queue.RAG]), timeout_seconds=30)


def test_a_collector_that_is_not_there_costs_nothing_but_a_line(tmp_path: Path, stub: OpenAIStub) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with running_stack(tmp_path, _settings(stub, nobody)) as stack:
        started = time.monotonic()
        reply = _post(stack, "away", "Otters sleep in rafts.")
        assert time.monotonic() - started < _QUICK_SECONDS
        assert stack.finished_job(reply.json()["job_id"])["status"] == "succeeded"
        assert _ask(stack, "away").status_code == 200
        wait_until(lambda: _says(stack, "spans not exported"), timeout_seconds=20)
        # uvicorn ends by the signal itself.
        assert stack.api.stop(10) == -signal.SIGTERM
        lines = [line for line in stack.api.log.read_text().splitlines() if "spans" in line]
        # One at the outage's beginning, and one at the process's end.
        assert 1 <= len(lines) <= 2
