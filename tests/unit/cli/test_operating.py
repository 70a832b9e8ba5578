import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from ragline.cli import main, operating, options
from ragline.cli.client import RaglineClient
from tests.support.fake_api import FakeApi, events, problem
from tests.support.fake_kubectl import install_kubectl

Run = Callable[..., tuple[int, str, str]]

DATA = Path(__file__).parent / "scaling" / "data"
QUEUES = [
    {"name": "document", "waiting": 2, "in_flight": 1, "workers": ["document@one"]},
    {"name": "rag", "waiting": 0, "in_flight": 0, "workers": []},
]
JOB = {
    "id": "job_1",
    "kind": "ingest",
    "status": "succeeded",
    "step": "index",
    "queue": "vectorstore",
    "trace_id": "a" * 32,
    "created_at": "2025-11-24T16:00:00Z",
    "finished_at": "2025-11-24T16:00:04Z",
}
API = {
    "GET /tasks/info": [httpx2.Response(200, json={"queues": QUEUES})],
    "GET /metrics": [problem(404, "not_found")],
    "GET /v1/jobs/job_1": [httpx2.Response(200, json=JOB)],
    "GET /v1/jobs/job_1/events": [events(("progress", {"step": "convert", "attempt": 1}), ("done", {}))],
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command against an API with these replies; its exit status, output and complaints."""
    monkeypatch.chdir(tmp_path)
    for name in ("RAGLINE_URL", "JAEGER_URL", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

    def command(*words: str) -> tuple[int, str, str]:
        client = functools.partial(RaglineClient, transport=FakeApi(API).transport, pause=lambda _: None)
        monkeypatch.setattr(options, "RaglineClient", client)
        result = CliRunner().invoke(main.app, list(words))
        return result.exit_code, result.stdout, result.stderr

    return command


@pytest.fixture
def laptop(tmp_path: Path) -> None:
    """A service that `ragline up --observe` runs in this folder."""
    addresses = dict.fromkeys(("api_url", "redis_url", "chroma_url", "observer_url"), "http://127.0.0.1:1")
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "up.json").write_text(
        json.dumps({"pid": 1, "started_at": "2025-01-01T00:00:00Z", **addresses})
    )


def test_top_once_prints_one_table_and_says_what_is_missing(run: Run) -> None:
    status, output, _ = run("top", "--once", "--interval", "0.2")
    assert status == 0
    assert output.startswith("This API has no /metrics")
    assert "document@one" in output
    assert "\x1b" not in output


def test_top_for_programs_is_json(run: Run) -> None:
    view = json.loads(run("top", "--json", "--interval", "0.2")[1])
    assert [queue["waiting"] for queue in view["queues"]] == [2, 0]
    assert view["queues"][0]["held"] is None


def test_top_without_an_api_has_its_own_exit_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main.app, ["top", "--once", "--api-url", "http://127.0.0.1:1"])
    assert (result.exit_code, "No Ragline API answers" in result.stderr) == (3, True)


@pytest.mark.usefixtures("laptop")
def test_scaling_on_a_laptop_is_explained_without_a_cluster(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(operating, "read_cluster")
    status, output, _ = run("explain-scale", "document")
    assert (status, output.count("never scaled")) == (0, 1)
    assert output.startswith("document: 2 queued + 1 in flight = 3; one worker, never scaled")


def test_scaling_in_a_cluster_is_explained_by_its_objects(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in DATA.glob("*.json"):
        shutil.copy(path, tmp_path)
    monkeypatch.setenv("PATH", str(install_kubectl(tmp_path)))
    status, output, _ = run("explain-scale", "document", "-n", "questions")
    assert status == 0
    said = "2 queued + 1 in flight = 3, target 4: KEDA wants 1 worker, has 1; nothing changes; 1 of 1 is still starting"
    assert output.startswith(f"document: {said}\n")
    assert "KEDAScaleTargetActivated" in output
    assert "--namespace questions" in (tmp_path / "asked").read_text()
    written = json.loads(run("explain-scale", "--json")[1])
    assert written["note"] == ""
    assert "asleep; the next message wakes one worker" in written["queues"][1]["next"]


def test_scaling_without_kubectl_is_explained_from_the_ledger(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    status, output, _ = run("explain-scale", "--namespace", "ragline")
    assert status == 0
    assert output.startswith("kubectl is not on the PATH; this is what the ledger counts.\ndocument: 2 queued + 1 in")


def test_scaling_knows_the_queues(run: Run) -> None:
    assert run("explain-scale", "nope")[0] == 2


@pytest.mark.usefixtures("laptop")
def test_a_trace_is_looked_for_at_the_observer_first(run: Run) -> None:
    status, output, _ = run("trace", "job_1")
    assert status == 0
    assert output.startswith("http://127.0.0.1:1 does not give the trace: ")
    assert "from the ledger's own timings" in output


def test_a_trace_for_programs_is_json(run: Run) -> None:
    written = json.loads(run("trace", "job_1", "--json")[1])
    assert (written["source"], [span["name"] for span in written["spans"]]) == ("ledger", ["ingest", "convert"])


def test_a_trace_that_nobody_has_is_a_failure(run: Run) -> None:
    status, output, complaint = run("trace", "b" * 32)
    assert (status, output) == (1, "")
    assert "give the job's or the document's id" in complaint


def test_why_is_one_paragraph(run: Run) -> None:
    status, output, _ = run("why", "job_1")
    assert (status, output.count("\n")) == (0, 1)
    assert output.startswith("Job job_1 (ingest) succeeded ")
    assert json.loads(run("why", "job_1", "--json")[1])["status"] == "succeeded"
