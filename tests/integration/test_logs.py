"""Logs of a real API and real workers, as containers run them: each line is one JSON object and says enough."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from celery import Celery

from ragline.common.queues import Queue
from tests.support import pdfs
from tests.support.api import ApiAlone, running_api
from tests.support.servers import Process, python
from tests.support.waiting import wait_until

Line = dict[str, Any]

MISHAPS = """
import sys, threading, warnings
from celery import shared_task
from ragline.common.logging import begin_logging
from ragline.worker.main import main
begin_logging()
class Falls:
    def __del__(self):
        raise RuntimeError("at its end")
@shared_task(name="mishaps")
def mishaps():
    print("printed on stdout")
    print("printed on stderr", file=sys.stderr)
    warnings.warn("a warning of Python's", UserWarning)
    Falls()
    thread = threading.Thread(target=lambda: 1 / 0, name="side")
    thread.start()
    thread.join()
    raise LookupError("raised by a task")
sys.exit(main(sys.argv[1:]))
"""

KEYS = {"event", "level", "logger", "timestamp"}

QUEUES = (Queue.DEFAULT, Queue.DOCUMENT)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """An API without Chroma, and workers of two queues, with what happened to them."""

    api: ApiAlone
    workers: dict[Queue, Process]

    def lines(self, who: Queue | None = None) -> list[Line]:
        """All lines of a worker, or of the API."""
        process = self.api.process if who is None else self.workers[who]
        return _lines(process.log)

    def wait_for(self, who: Queue | None, event: str, **fields: object) -> Line:
        """The first line with this event and these fields."""
        found: list[Line] = []

        def seen() -> bool:
            wanted = {"event": event, **fields}.items()
            found[:] = [line for line in self.lines(who) if wanted <= _plain(line).items()]
            return bool(found)

        wait_until(seen, timeout_seconds=30, interval_seconds=0.1)
        return found[0]


def _plain(line: Line) -> Line:
    """What can be compared in a set."""
    return {name: value for name, value in line.items() if isinstance(value, str | int | float | None)}


def _lines(log: Path) -> list[Line]:
    written = log.read_text(encoding="utf-8")
    # The last one may be half written.
    return [_object(line) for line in written[: written.rfind("\n") + 1].splitlines()]


def _object(text: str) -> Line:
    try:
        line: Line = json.loads(text)
    except ValueError:
        pytest.fail(f"no JSON: {text!r}")
    assert line.keys() >= KEYS, text
    return line


def _worker(api: ApiAlone, queue: Queue, log: Path) -> Process:
    environment = {"REDIS_URL": api.redis_url, "OBJECT_STORE_URL": f"file://{api.objects}"}
    return Process(python("-W", "default", "-c", MISHAPS, queue), log=log, env=environment)


@contextmanager
def _running(folder: Path) -> Iterator[Scene]:
    with ExitStack() as exits:
        api = exits.enter_context(running_api(folder, "gunicorn"))
        workers = {queue: _worker(api, queue, folder / f"{queue}.log") for queue in QUEUES}
        for worker in workers.values():
            exits.callback(worker.stop)
        scene = Scene(api=api, workers=workers)
        for queue in QUEUES:
            scene.wait_for(queue, "worker ready")
        yield scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with _running(tmp_path_factory.mktemp("logs")) as scene:
        yield scene


def _upload(scene: Scene, pdf: bytes) -> tuple[httpx2.Response, dict[str, str]]:
    reply = scene.api.client.post(
        "/v1/collections/papers/documents",
        params={"name": "a.pdf"},
        content=pdf,
        headers={"Content-Type": "application/pdf"},
    )
    assert reply.status_code == 202, reply.text
    return reply, reply.json()


def test_a_request_and_its_step_are_a_line_each(scene: Scene) -> None:
    reply, submission = _upload(scene, pdfs.text_pdf(["The ferry leaves at noon."]))
    ids = {"job_id": submission["job_id"], "document_id": submission["document_id"], "tenant": "default"}
    trace = {"request_id": reply.headers["X-Request-ID"], "trace_id": reply.headers["traceparent"][3:35]}

    request = scene.wait_for(None, "request", **ids, **trace)
    step = scene.wait_for(Queue.DOCUMENT, "step ended", **ids, **trace, step="convert")

    assert (request["method"], request["path"]) == ("POST", "/v1/collections/papers/documents")
    assert (request["status"], request["level"]) == (202, "info")
    assert (step["queue"], step["attempt"], step["outcome"]) == ("document", 1, "StepDone")
    assert 0 < request["seconds"] < 10
    assert 0 < step["seconds"] < 30
    assert len([line for line in scene.lines() if line.get("request_id") == trace["request_id"]]) == 1


def test_a_look_at_a_job_names_it(scene: Scene) -> None:
    _, submission = _upload(scene, pdfs.text_pdf(["Another."]))
    reply = scene.api.client.get(f"/v1/jobs/{submission['job_id']}")
    scene.wait_for(None, "request", request_id=reply.headers["X-Request-ID"], job_id=submission["job_id"], status=200)


def test_every_file_of_a_batch_is_named(scene: Scene) -> None:
    files = [("file", (f"{number}.pdf", pdfs.text_pdf([f"Page {number}."]))) for number in range(2)]
    results = scene.api.client.post("/v1/collections/papers/documents/batch", files=files).json()["results"]
    for result in results:
        scene.wait_for(None, "file accepted", job_id=result["submission"]["job_id"])


def test_a_failure_says_what_happens_next(scene: Scene) -> None:
    _, submission = _upload(scene, pdfs.truncated_pdf())
    line = scene.wait_for(Queue.DOCUMENT, "step failed", job_id=submission["job_id"])
    assert (line["level"], line["next"]) == ("warning", "the job ends as failed")
    assert {"error_code", "trace_id", "request_id", "attempt", "queue", "step", "seconds"} <= line.keys()


def test_probes_leave_no_line(scene: Scene) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        scene.api.client.get(path)
    marked = scene.api.client.get("/healthz", headers={"X-Request-ID": "marked"})
    assert marked.headers["X-Request-ID"] == "marked"
    scene.api.client.get("/v1/jobs/nothing", headers={"X-Request-ID": "after"})
    scene.wait_for(None, "request", request_id="after")
    paths = {line["path"] for line in scene.lines() if line["event"] == "request"}
    assert not {"/healthz", "/readyz", "/metrics"} & paths


def test_whatever_goes_wrong_in_a_worker_is_one_line_each(scene: Scene) -> None:
    queue = Queue.DEFAULT
    with Celery(broker=scene.api.redis_url) as app:
        app.send_task("mishaps", queue=queue)
    assert scene.wait_for(queue, "printed", text="printed on stdout")["level"] == "info"
    assert scene.wait_for(queue, "printed", text="printed on stderr")["level"] == "warning"
    assert scene.wait_for(queue, "thread failed by a defect", thread="side")["exception"][0]["exc_type"]
    assert scene.wait_for(queue, "exception that nobody could catch")["exception"][0]["exc_value"] == "at its end"
    wait_until(lambda: any(line["logger"] == "celery.app.trace" for line in scene.lines(queue)), timeout_seconds=20)
    (raised,) = [line for line in scene.lines(queue) if line["logger"] == "celery.app.trace"]
    assert "raised unexpected: LookupError('raised by a task')" in raised["event"]
    assert raised["exception"][0]["frames"][-1]["name"] == "mishaps"
    warned = [line["event"] for line in scene.lines(queue) if line["logger"] == "py.warnings"]
    assert [event for event in warned if "a warning of Python's" in event]


def test_a_killed_child_and_an_outage_are_lines_too(tmp_path: Path) -> None:
    with _running(tmp_path) as scene:
        _kill_a_child(scene)
        scene.api.valkey.kill()
        scene.wait_for(None, "sweep failed")
        scene.wait_for(Queue.DOCUMENT, "heartbeat not sent", next="another try soon")
        scene.api.valkey.restart()
        scene.wait_for(None, "sweeping again")


def _kill_a_child(scene: Scene) -> None:
    worker = scene.workers[Queue.DOCUMENT]
    pid = worker.popen.pid
    child, *_ = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)
    killed = "exited with 'signal 9 (SIGKILL)'"
    wait_until(lambda: any(killed in line["event"] for line in scene.lines(Queue.DOCUMENT)), timeout_seconds=20)


@pytest.mark.parametrize("queue", QUEUES)
def test_the_end_is_told_too(scene: Scene, queue: Queue, tmp_path: Path) -> None:
    worker = _worker(scene.api, queue, tmp_path / "worker.log")
    worker.wait_ready(lambda: "worker ready" in worker.log.read_text())
    assert worker.stop() == 0
    assert _lines(worker.log)[-1]["event"] == "worker ended"


@pytest.mark.parametrize("module", ["ragline.api.server", "ragline.worker.main"])
def test_so_is_a_start_that_fails(module: str, tmp_path: Path) -> None:
    environment = {"CHUNK_SIZE": "1", "OBJECT_STORE_URL": f"file://{tmp_path}/objects"}
    process = Process(python("-m", module, "default"), log=tmp_path / "log", env=environment)
    assert process.popen.wait(20) == 2
    (line,) = _lines(process.log)
    assert (line["event"], line["level"]) == ("not started", "critical")
    assert line["reason"].startswith("CHUNK_SIZE")
