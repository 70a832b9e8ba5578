"""Row l: one trace of a document and one of an answer, in a real Jaeger, which nothing depends on."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import httpx2
import pytest

from e2e.support.api import Api, forwarded
from e2e.support.figures import Figures
from e2e.support.ingesting import all_indexed, being_indexed, check_exactly_once, upload_notes
from e2e.support.release import Release
from ragline.cli.failures import ApiFailure, ApiUnreachable
from ragline.cli.traces.finding import find_trace
from ragline.cli.traces.spans import Span
from ragline.common import span_names
from ragline.common.queues import Queue
from tests.support import pdfs
from tests.support.waiting import wait_until

_SENTENCE = "The ferry to the island leaves at noon."

_NOTES = 10


@dataclass(frozen=True, kw_only=True)
class _Traced:
    """A release with a Jaeger, and how both are reached."""

    release: Release
    api: Api
    jaeger_url: str

    def trace(self, job_id: str, *, step: str) -> "_Trace":
        """The trace of a job, once Jaeger has the end of this step."""
        found: list[Span] = []

        def complete() -> bool:
            with suppress(ApiFailure, ApiUnreachable):
                trace = find_trace(job_id, self.api, jaeger_url=self.jaeger_url)
                found[:] = trace.spans if trace.source == self.jaeger_url else []
            return any(span.name == step and span.attributes.get(span_names.OUTCOME) == "done" for span in found)

        wait_until(complete, timeout_seconds=60, interval_seconds=1)
        return _Trace(spans=found)


@dataclass(frozen=True, kw_only=True)
class _Trace:
    """Spans of one trace."""

    spans: list[Span] = field(default_factory=list)

    def below(self, parent: Span, name: str) -> list[Span]:
        """Children of this name."""
        return [span for span in self.spans if span.parent_id == parent.span_id and span.name == name]

    def called(self, parent: Span) -> set[str]:
        """First words of the calls right below a span: which part was asked."""
        return {span.name.split()[0] for span in self.spans if span.parent_id == parent.span_id} - {"claim"}

    def named(self, name: str) -> list[Span]:
        """All of this name, by time."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start_us)

    def root(self) -> Span:
        """The one span without a parent."""
        (root,) = [span for span in self.spans if not span.parent_id]
        return root

    def wait_for(self, step: Span) -> Span:
        """How long a step waited on its queue: the wait that ended as it was claimed."""
        queue = step.attributes[span_names.MESSAGING_DESTINATION]
        waits = [
            span
            for span in self.named(span_names.QUEUE_WAIT)
            if span.attributes[span_names.MESSAGING_DESTINATION] == queue and span.end_us >= step.start_us
        ]
        return min(waits, key=lambda span: span.end_us)


@pytest.fixture(scope="module")
def scene(traced: Release) -> Iterator[_Traced]:
    with ExitStack() as exits:
        api = exits.enter_context(Api(exits.enter_context(forwarded(traced.kubectl, "service/ragline-api", 80))))
        jaeger_url = exits.enter_context(forwarded(traced.kubectl, "service/ragline-jaeger", 16686))
        traced.kubectl.wait(lambda: not api.missing_parts() and _answers(jaeger_url), timeout_seconds=60)
        yield _Traced(release=traced, api=api, jaeger_url=jaeger_url)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/api/services", timeout=5).is_success
    except httpx2.HTTPError:
        return False


def test_l_a_document_and_an_answer_are_a_trace_each(scene: _Traced, figure: Figures, collection: str) -> None:
    for queue in (Queue.DOCUMENT, Queue.VECTORSTORE, Queue.RAG):
        scene.release.wait_asleep(queue)

    submission = scene.api.put(collection, "ferry.pdf", pdfs.text_pdf([_SENTENCE]))
    assert scene.api.ended(submission.job_id)["status"] == "succeeded"
    document = scene.trace(submission.job_id, step="index")
    question = scene.api.ask_later(collection, "When does the ferry leave?")
    assert scene.api.ended(question)["status"] == "succeeded"
    logged = _logged(scene.release, question)
    answer = scene.trace(question, step="answer")

    _check_beginning(document, "POST /v1/collections/{name}/documents")
    _check_beginning(answer, "POST /v1/collections/{name}/queries")
    assert logged == {event: {answer.root().trace_id} for event in ("request", "step ended")}
    called = {step: _check_step(document, step) for step in ("convert", "split", "index")}
    called["answer"] = _check_step(answer, "answer")
    assert all("object_store" in parts for parts in called.values()), called
    assert {"chroma", "embeddings"} <= called["index"]
    assert {"chroma", "embeddings"} <= called["answer"]
    for what, trace, queue in (("document", document, Queue.DOCUMENT), ("answer", answer, Queue.RAG)):
        figure(f"spans of the trace of the {what}", len(trace.spans), "")
        figure(f"{queue}: cold start, as its trace tells", _cold_start(trace, queue), at_most=60)


def _logged(release: Release, job_id: str) -> dict[str, set[str]]:
    """Trace ids of the lines about a job by event, of API and worker; each line of both is JSON."""
    texts = [line for part in ("api", f"worker-{Queue.RAG}") for line in release.log(part).splitlines()]
    found: dict[str, set[str]] = {}
    for line in map(json.loads, texts):
        # Looks at the job are requests of their own.
        if line.get("job_id") == job_id and line.get("method") != "GET":
            found.setdefault(line["event"], set()).add(line["trace_id"])
    return found


def _check_beginning(trace: _Trace, request: str) -> None:
    root = trace.root()
    assert (root.name, root.service, root.kind) == (request, "ragline-api", "server")
    assert len(trace.below(root, span_names.ACCEPT)) == 1
    assert len({span.trace_id for span in trace.spans}) == 1
    assert not [span for span in trace.spans if span.failed]


def _check_step(trace: _Trace, name: str) -> set[str]:
    """A step is claimed after a wait, below the request; the parts that it called."""
    root, (step,) = trace.root(), trace.named(name)
    assert (step.parent_id, step.kind, step.attributes[span_names.ATTEMPT]) == (root.span_id, "consumer", 1)
    assert step.service == f"ragline-worker-{step.attributes[span_names.MESSAGING_DESTINATION]}"
    assert step.links == ()
    assert len(trace.below(step, span_names.CLAIM)) == 1
    wait = trace.wait_for(step)
    assert wait.parent_id == root.span_id
    assert wait.start_us < step.end_us
    return trace.called(step) - {span_names.CLAIM}


def _cold_start(trace: _Trace, queue: Queue) -> float:
    """Seconds until the first step of a queue had a worker; it is a part of that step's wait."""
    starts = [(wait, start) for wait in trace.named(span_names.QUEUE_WAIT) for start in trace.below(wait, "cold start")]
    mine = [pair for pair in starts if pair[0].attributes[span_names.MESSAGING_DESTINATION] == queue]
    ((wait, start),) = mine[:1]
    assert wait.start_us == start.start_us
    assert start.end_us <= wait.end_us
    return start.duration_us / 1e6


def test_l_a_second_attempt_is_linked_to_the_first(scene: _Traced, figure: Figures, collection: str) -> None:
    submission = being_indexed(scene.release, scene.api, collection)
    (pod,) = scene.release.ready_pods(f"worker-{Queue.VECTORSTORE}")
    scene.release.kill_processes(pod)
    assert scene.api.ended(submission.job_id)["status"] == "succeeded"

    trace = scene.trace(submission.job_id, step="index")
    runs = trace.named("index")
    # It could not tell of itself: whoever found it lost did.
    (lost,) = [run for run in runs if run.attributes[span_names.OUTCOME] == "lost"]
    (second,) = [run for run in runs if lost.span_id in {link.span_id for link in run.links}]
    assert lost.service == "ragline-api"
    assert lost.message == span_names.LEASE_LOST
    assert int(second.attributes[span_names.ATTEMPT]) == int(lost.attributes[span_names.ATTEMPT]) + 1
    assert {len(run.links) for run in runs[1:]} == {1}
    figure("runs of the step in the trace, each linked to the one before", len(runs), "")
    figure("from the end of the lost run to the next one", (second.start_us - lost.end_us) / 1e6, at_most=60)
    check_exactly_once(scene.api, collection, [submission])


def test_l_nothing_needs_jaeger(scene: _Traced, figure: Figures, collection: str) -> None:
    jaeger = "deployment/ragline-jaeger"
    scene.release.kubectl("scale", jaeger, "--replicas=0")
    try:
        scene.release.kubectl.wait(lambda: not scene.release.pods("jaeger"), timeout_seconds=60)
        submissions = upload_notes(scene.api, collection, _NOTES)
        all_indexed(scene.api, submissions, timeout_seconds=120)
        assert scene.api.ask_citations(collection, "How many keys does locker 3 hold?")
        check_exactly_once(scene.api, collection, submissions)
        scene.release.kubectl.wait(
            lambda: "spans not exported" in scene.release.log("api"),
            timeout_seconds=60,
        )
    finally:
        scene.release.kubectl("scale", jaeger, "--replicas=1")
    figure("documents lost while Jaeger was away", _NOTES - len(submissions), "", at_most=0)
    scene.release.kubectl.wait(lambda: bool(scene.release.ready_pods("jaeger")), timeout_seconds=60)
    again = scene.api.put(collection, "again.pdf", pdfs.text_pdf([_SENTENCE]))
    assert scene.api.ended(again.job_id)["status"] == "succeeded"
    scene.trace(again.job_id, step="index")
