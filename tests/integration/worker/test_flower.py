"""Flower as `ragline up` and as the chart start it, beside a real worker: it shows who works on what, and no more."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ragline.cli.supervisor.plan import Extras, load_settings, make_plan
from ragline.common.constants import DEFAULT_TENANT
from ragline.common.queues import JobKind, Queue
from ragline.stores.ledger.accepting import NewJob
from tests.support.chart import by_kind, find, render
from tests.support.ledger import Ledger
from tests.support.servers import Process, free_port, python, valkey_server
from tests.support.waiting import wait_until

AUTH = ("ragline", "pass:word")

NUMBERS = (20281.0, 30391.0)

TEXT = "a text of somebody's"

PURGE_SECONDS = 2
"""Instead of 60, so that a test need not wait for it."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A Flower and what it looks at."""

    folder: Path
    redis_url: str
    flower: Process
    pages: httpx2.Client

    def data(self, path: str) -> Any:  # noqa: ANN401 - parsed JSON
        """What a page says as JSON."""
        reply = self.pages.get(path)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def start_worker(self, name: str) -> Process:
        """A worker of the queue `default`."""
        environment = {
            "REDIS_URL": self.redis_url,
            "OBJECT_STORE_URL": f"file://{self.folder}/objects",
            "WORKER_NAME": name,
        }
        command = python("-m", "ragline.worker.main", Queue.DEFAULT)
        return Process(command, log=self.folder / f"{name}.log", env=environment)

    def workers(self) -> list[str]:
        """Names of the workers it shows."""
        return sorted(worker["hostname"] for worker in self.data("/workers?json=1")["data"])


def _of_the_laptop(folder: Path, redis_url: str, port: int, patch: pytest.MonkeyPatch) -> Process:
    for name, value in {"REDIS_URL": redis_url, "FLOWER_PORT": str(port), "DATA_DIR": str(folder)}.items():
        patch.setenv(name, value)
    part = make_plan(load_settings(), Extras(flower=True)).parts[-1]
    argv = [word.replace("workers=60", f"workers={PURGE_SECONDS}") for word in part.argv]
    assert argv != list(part.argv)
    return Process(argv, log=folder / "flower.log", env={**part.env, "FLOWER_BASIC_AUTH": ":".join(AUTH)})


def _of_the_chart(folder: Path, redis_url: str, port: int, _patch: pytest.MonkeyPatch) -> Process:
    objects = render({"flower": {"persistence": {"enabled": True}}})
    changes = {
        "/run/secrets/flower/basic_auth": f"{folder}/basic_auth",
        "/data/flower": f"{folder}/kept",
        "port = 5555": f"port = {port}",
        "purge_offline_workers = 60": f"purge_offline_workers = {PURGE_SECONDS}",
        "state_save_interval = 60_000": "state_save_interval = 500",
    }
    for name, text in find(objects, "ConfigMap", "ragline-flower")["data"].items():
        (folder / name).write_text(_changed(text, changes if name == "flowerconfig.py" else {}), encoding="utf-8")
    (folder / "basic_auth").write_text(":".join(AUTH), encoding="utf-8")
    (deployment,) = [found for found in by_kind(objects, "Deployment") if found["metadata"]["name"] == "ragline-flower"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    command = [word.replace("/etc/flower", str(folder)) for word in container["command"]]
    argv = [str(Path(sys.executable).with_name(command[0])), *command[1:]]
    return Process(argv, log=folder / "flower.log", env={"REDIS_URL": redis_url, "PYTHONPATH": str(folder)})


def _changed(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module", params=[_of_the_laptop, _of_the_chart], ids=["laptop", "chart"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder, port = tmp_path_factory.mktemp("flower"), free_port()
    with ExitStack() as exits:
        patch = exits.enter_context(pytest.MonkeyPatch.context())
        redis_url, _ = exits.enter_context(valkey_server(folder / "valkey"))
        flower: Process = request.param(folder, redis_url, port, patch)
        exits.callback(flower.stop)
        pages = exits.enter_context(httpx2.Client(base_url=f"http://127.0.0.1:{port}", auth=AUTH, timeout=20))
        flower.wait_ready(lambda: _answers(pages))
        yield Scene(folder=folder, redis_url=redis_url, flower=flower, pages=pages)


@pytest.fixture
def worker(scene: Scene) -> Iterator[Process]:
    """The worker `default@pod-1`, which Flower knows."""
    worker = scene.start_worker("pod-1")
    worker.wait_ready(lambda: "worker ready" in worker.log.read_text())
    wait_until(lambda: scene.workers() == ["default@pod-1"], timeout_seconds=20)
    yield worker
    worker.stop()


def _answers(pages: httpx2.Client) -> bool:
    try:
        return pages.get("/healthcheck").is_success
    except httpx2.HTTPError:
        return False


def _do_something(scene: Scene) -> None:
    sums = {"workflow": "parallel", "x": NUMBERS[0], "y": NUMBERS[1], "z": 1.0}
    jobs = (JobKind.PROCESS, {"data": TEXT}), (JobKind.WORKFLOW, sums)
    with Ledger(scene.redis_url) as ledger:
        for kind, params in jobs:
            submission = ledger.submit(NewJob(tenant=DEFAULT_TENANT, kind=kind, params=params))
            wait_until(lambda: ledger.job(submission.job_id).state == "succeeded", timeout_seconds=30)  # noqa: B023 - ends before the next


def test_workers_have_the_name_of_their_pod_and_tasks_show_ids_alone(scene: Scene, worker: Process) -> None:
    _do_something(scene)
    # process, start, twice a number, their sum, and the last link.
    wait_until(lambda: len(scene.data("/api/tasks")) >= 6, timeout_seconds=20)
    for uuid, task in scene.data("/api/tasks").items():
        assert (task["args"], task["kwargs"]) == (f"('{uuid}',)", "{}"), task["name"]
        assert task["worker"] == "default@pod-1"
        page = scene.pages.get(f"/task/{uuid}").text
        assert not [word for word in (TEXT, *map(str, (*NUMBERS, sum(NUMBERS)))) if word in page], task["name"]


@pytest.mark.parametrize("auth", [None, ("ragline", "wrong"), ("somebody", AUTH[1])])
@pytest.mark.parametrize("path", ["/", "/workers?json=1", "/api/tasks", "/api/workers", "/broker"])
def test_nobody_looks_without_the_password(scene: Scene, auth: tuple[str, str] | None, path: str) -> None:
    assert httpx2.get(scene.pages.base_url.join(path), auth=auth).status_code == 401


ORDERS = [
    "/api/worker/shutdown/default@pod-1",
    "/api/worker/pool/restart/default@pod-1",
    "/api/worker/queue/cancel-consumer/default@pod-1?queue=default",
    "/api/task/revoke/some-task?terminate=true",
    "/api/task/send-task/process_data_task",
]


@pytest.mark.parametrize("path", ORDERS)
def test_nobody_gives_orders_by_it(scene: Scene, worker: Process, path: str) -> None:
    assert scene.pages.post(path, json={"args": []}).status_code == 403
    assert worker.popen.poll() is None
    _do_something(scene)


def test_a_worker_that_left_is_forgotten(scene: Scene, worker: Process) -> None:
    worker.stop()
    wait_until(lambda: scene.workers() == [], timeout_seconds=20)
    other = scene.start_worker("pod-2")
    try:
        wait_until(lambda: scene.workers() == ["default@pod-2"], timeout_seconds=20)
    finally:
        other.stop()


def test_on_a_volume_it_remembers(scene: Scene, worker: Process) -> None:
    if not (scene.folder / "basic_auth").exists():
        pytest.skip("on a laptop it forgets")
    _do_something(scene)
    wait_until(lambda: len(scene.data("/api/tasks")) >= 6, timeout_seconds=20)
    seen = scene.data("/api/tasks").keys()
    scene.flower.stop()
    scene.flower.restart()
    scene.flower.wait_ready(lambda: _answers(scene.pages))
    assert seen <= scene.data("/api/tasks").keys()
