"""Rows b, c and o: KEDA wakes each queue, lets none sleep that is at work, and counts work that is held back."""

import time
from dataclasses import dataclass

import pytest

from e2e.support.api import Api
from e2e.support.figures import Figures
from e2e.support.ingesting import all_indexed, upload_long, upload_notes
from e2e.support.release import Release
from ragline.common.queues import Queue
from tests.support import pdfs
from tests.support.waiting import wait_until

_COOLDOWN_SECONDS = 7
_WATCH_SECONDS = 15
"""Two cooldowns, and less than a step's budget: the step does not come back to the list meanwhile."""

_DOCUMENTS = 160
_PER_WORKER = 40
"""More than a tenant may have on the list: by that alone one worker would do."""


@pytest.mark.parametrize("queue", list(Queue), ids=str)
def test_b_a_queue_wakes_and_sleeps(release: Release, api: Api, figure: Figures, collection: str, queue: Queue) -> None:
    note = api.put(collection, "note.pdf", pdfs.text_pdf(["The ferry leaves at noon."]))
    assert api.ended(note.job_id)["status"] == "succeeded"
    release.wait_asleep(queue)

    started = time.monotonic()
    job_id = _published(api, queue, collection, str(note.document_id))
    release.kubectl.wait(lambda: bool(release.ready_pods(f"worker-{queue}")), timeout_seconds=60)

    figure(f"{queue}: from publish to a ready pod", time.monotonic() - started, at_most=30)
    assert api.ended(job_id)["status"] == "succeeded"
    figure(f"{queue}: from publish to the end of the job", time.monotonic() - started, at_most=60)
    figure(f"{queue}: from the end of the job to no pod (cooldown 10 s)", release.wait_asleep(queue), at_most=60)


def _published(api: Api, queue: Queue, collection: str, document_id: str) -> str:
    """The job of a message on the queue."""
    match queue:
        case Queue.DEFAULT:
            return api.process()
        case Queue.DOCUMENT:
            return api.put(collection, "another.pdf", pdfs.text_pdf(["The bus leaves at one."])).job_id
        case Queue.VECTORSTORE:
            return api.delete(document_id)
        case Queue.RAG:
            return api.ask_later(collection, "When does the ferry leave?")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    replicas: int
    waiting: int
    in_flight: int


@pytest.mark.parametrize("formula", ["queued + held + inflight", "queued"])
def test_c_a_busy_queue_with_an_empty_list(
    release: Release, api: Api, figure: Figures, collection: str, formula: str
) -> None:
    release.wait_asleep(Queue.VECTORSTORE)
    changes = [("/spec/cooldownPeriod", _COOLDOWN_SECONDS), ("/spec/advanced/scalingModifiers/formula", formula)]
    with release.scaling(Queue.VECTORSTORE, changes):
        submission = upload_long(api, collection)
        # From the moment it is taken: on a slow machine the worker may be gone before the first chunk.
        wait_until(lambda: api.queue(Queue.VECTORSTORE)["in_flight"] > 0, timeout_seconds=120, interval_seconds=0.1)
        started = time.monotonic()
        samples = _watched(release, api)
        figure("watched, or until KEDA took the worker away", time.monotonic() - started)

    busy = [sample for sample in samples if sample.replicas]
    figure("samples with an empty list and work in flight", len(busy), "")
    assert busy
    assert {sample.waiting for sample in busy} == {0}
    assert min(sample.in_flight for sample in busy) >= 1
    assert (samples[-1].replicas > 0) == ("inflight" in formula), samples
    assert api.ended(submission.job_id)["status"] == "succeeded"


def _watched(release: Release, api: Api) -> list[_Sample]:
    """Samples until the queue is scaled to zero, or the time is over."""
    samples: list[_Sample] = []
    started = time.monotonic()

    def over() -> bool:
        replicas = release.replicas(Queue.VECTORSTORE)
        queue = api.queue(Queue.VECTORSTORE)
        samples.append(_Sample(replicas=replicas, waiting=queue["waiting"], in_flight=queue["in_flight"]))
        return replicas == 0 or time.monotonic() - started > _WATCH_SECONDS

    wait_until(over, timeout_seconds=2 * _WATCH_SECONDS, interval_seconds=0.5)
    return samples


def test_o_a_tenants_held_work_counts(release: Release, api: Api, figure: Figures, collection: str) -> None:
    release.pause(Queue.DOCUMENT, 0)
    with release.scaling(Queue.DOCUMENT, [("/spec/advanced/scalingModifiers/target", str(_PER_WORKER))]):
        try:
            release.wait_asleep(Queue.DOCUMENT)
            submissions = upload_notes(api, collection, _DOCUMENTS)
        finally:
            release.pause(Queue.DOCUMENT, None)
        seconds = release.kubectl.wait(lambda: release.replicas(Queue.DOCUMENT) > 1, timeout_seconds=90)
        work = f"{_DOCUMENTS} documents of one tenant, {_PER_WORKER} a worker"
        figure(f"from the end of the pause to a second worker: {work}", seconds, at_most=60)
    all_indexed(api, submissions, timeout_seconds=300)
