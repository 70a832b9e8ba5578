"""Row p: Flower shows the pods at work to whoever knows the password, and takes no orders."""

import base64
from contextlib import ExitStack

import httpx2

from e2e.support.api import Api, forwarded
from e2e.support.figures import Figures
from e2e.support.release import Release
from ragline.common.queues import Queue
from tests.support.waiting import wait_until


def test_p_flower_shows_pods_and_takes_no_orders(release: Release, api: Api, figure: Figures) -> None:
    secret = release.kubectl.object("secret", "ragline-flower")["data"]["basic_auth"]
    user, _, password = base64.b64decode(secret).decode().partition(":")
    with ExitStack() as exits:
        url = exits.enter_context(forwarded(release.kubectl, "service/ragline-flower", 5555))
        pages = exits.enter_context(httpx2.Client(base_url=url, auth=(user, password), timeout=10))
        release.kubectl.wait(lambda: _status(f"{url}/healthcheck") == 200, timeout_seconds=60)
        assert _status(f"{url}/workers?json=1") == 401
        job_id = api.process()
        assert api.ended(job_id)["status"] == "succeeded"
        (pod,) = [found["metadata"]["name"] for found in release.pods(f"worker-{Queue.DEFAULT}")]
        worker, task = f"{Queue.DEFAULT}@{pod}", f"{job_id}.process"
        wait_until(lambda: worker in _workers(pages), timeout_seconds=20, interval_seconds=0.5)
        wait_until(lambda: task in _tasks(pages), timeout_seconds=20, interval_seconds=0.5)
        assert _tasks(pages)[task] == f"('{task}',)"
        assert pages.post(f"/api/worker/shutdown/{worker}").status_code == 403
        release.wait_asleep(Queue.DEFAULT)
        seconds = release.kubectl.wait(lambda: worker not in _workers(pages), timeout_seconds=120)
        figure("from the end of a worker to its leaving Flower's list", seconds, at_most=90)


def _status(url: str) -> int:
    try:
        return httpx2.get(url, timeout=5).status_code
    except httpx2.HTTPError:
        return 0


def _tasks(pages: httpx2.Client) -> dict[str, str]:
    """What Flower shows as the arguments of each task."""
    return {name: task["args"] for name, task in pages.get("/api/tasks").json().items()}


def _workers(pages: httpx2.Client) -> list[str]:
    return [worker["hostname"] for worker in pages.get("/workers?json=1").json()["data"]]
