"""Rows d and e: workers that die, and workers that are told to go."""

import time

import pytest

from e2e.support.api import Api
from e2e.support.figures import Figures
from e2e.support.ingesting import being_indexed, check_exactly_once
from e2e.support.release import Release
from ragline.common.queues import Queue
from tests.support.waiting import wait_until

_COMPONENT = f"worker-{Queue.VECTORSTORE}"


@pytest.mark.parametrize("through_zero", [False, True], ids=["pod_restarts", "through_zero"])
def test_d_a_killed_worker(release: Release, api: Api, figure: Figures, collection: str, through_zero: bool) -> None:
    # Pods of its own: the kubelet holds back one that dies for the second time.
    release.delete_pods(_COMPONENT)
    submission = being_indexed(release, api, collection)
    (pod,) = release.ready_pods(_COMPONENT)
    attempts = api.job(submission.job_id)["attempts"]

    release.kill_processes(pod)
    killed = time.monotonic()
    if through_zero:
        release.scale(Queue.VECTORSTORE, 0)
        release.delete_pods(_COMPONENT, "--grace-period=0", "--force")
        release.kubectl.wait(lambda: bool(release.ready_pods(_COMPONENT)), timeout_seconds=60)
        figure("from the kill through zero to a ready worker", time.monotonic() - killed, at_most=30)
    wait_until(
        lambda: bool(api.job(submission.job_id)["attempts"] > attempts), timeout_seconds=60, interval_seconds=0.2
    )
    figure("from the kill to the next claim", time.monotonic() - killed, at_most=35)

    assert api.ended(submission.job_id)["status"] == "succeeded"
    figure("from the kill to indexed", time.monotonic() - killed, at_most=180)
    check_exactly_once(api, collection, [submission])


def test_e_a_deleted_pod_hands_back(release: Release, api: Api, figure: Figures, collection: str) -> None:
    submission = being_indexed(release, api, collection)
    before = api.job(submission.job_id)["worker"]

    release.delete_pods(_COMPONENT)
    deleted = time.monotonic()
    wait_until(lambda: bool(api.job(submission.job_id)["interruptions"]), timeout_seconds=60, interval_seconds=0.1)
    figure("from kubectl delete pod to the hand-back", time.monotonic() - deleted, at_most=5)
    wait_until(lambda: api.job(submission.job_id)["worker"] != before, timeout_seconds=60, interval_seconds=0.2)
    figure("from kubectl delete pod to a claim by another worker", time.monotonic() - deleted, at_most=30)
    job = api.ended(submission.job_id)

    figure("from kubectl delete pod to indexed", time.monotonic() - deleted, at_most=180)
    figure("hand-backs", job["interruptions"], "", at_most=1)
    assert job["status"] == "succeeded"
    check_exactly_once(api, collection, [submission])
