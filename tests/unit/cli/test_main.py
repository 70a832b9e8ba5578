import functools
import json
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from ragline.cli import main, options
from ragline.cli.client import RaglineClient
from ragline.cli.supervisor.data_folder import locked
from tests.support.fake_api import FakeApi, events, problem

ASK = "POST /v1/collections/default/queries"
VERIFY = "POST /v1/collections/papers/verifications"
CITATION = {"document": "a.pdf", "page": 17, "quote": "26 weeks"}
DONE = ("done", {"state": "succeeded"})
CONSISTENT = {"documents": 1, "chunks": 3, "missing": [], "extra": [], "stale": [], "consistent": True}

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command against an API; its exit status, output and complaints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("RAGLINE_URL", raising=False)

    def command(api: FakeApi | None, *words: str) -> tuple[int, str, str]:
        if api:
            patient = functools.partial(RaglineClient, transport=api.transport, pause=lambda _: None)
            monkeypatch.setattr(options, "RaglineClient", patient)
        result = CliRunner().invoke(main.app, list(words))
        return result.exit_code, result.stdout, result.stderr

    return command


def job(status: str = "succeeded", **fields: object) -> list[httpx2.Response]:
    return [httpx2.Response(200, json={"id": "job_1", "status": status, **fields})]


def test_ask_prints_the_answer_and_what_it_rests_on(run: Run) -> None:
    api = FakeApi({ASK: [events(("token", {"text": "26 weeks."}), ("citation", CITATION), DONE)]})
    status, output, _ = run(api, "ask", "How long?")
    assert (status, output) == (0, '26 weeks.\n\n[1] a.pdf, page 17: "26 weeks"\n')
    assert json.loads(api.requests[0].content) == {"question": "How long?"}


def test_ask_without_evidence_has_its_own_exit_status(run: Run) -> None:
    status, output, _ = run(FakeApi({ASK: [events(("token", {"text": "?"}), DONE)]}), "ask", "How long?")
    assert status == 4
    assert "no evidence" in output


@pytest.mark.parametrize(("answered", "status"), [(True, 0), (False, 4)])
def test_ask_as_json_is_the_reply(run: Run, answered: bool, status: int) -> None:
    reply = {"answer": "26 wéeks", "answered": answered, "citations": []}
    result = run(FakeApi({ASK: [httpx2.Response(200, json=reply)]}), "ask", "How long?", "--json", "--top-k", "5")
    assert result[0] == status
    assert json.loads(result[1]) == reply


def test_a_problem_is_told_on_stderr(run: Run) -> None:
    status, output, complaint = run(FakeApi({ASK: [problem(404, "not_found", title="No")]}), "ask", "How long?")
    assert (status, output, complaint) == (1, "", "No (code not_found, request req_1)\n")


def test_no_api_has_its_own_exit_status(run: Run) -> None:
    status, _, complaint = run(None, "status", "job_1", "--api-url", "http://127.0.0.1:1")
    assert status == 3
    assert complaint == "No Ragline API answers at http://127.0.0.1:1. Is it running (ragline up)?\n"


def test_a_running_service_is_found_by_its_folder(run: Run, tmp_path: Path) -> None:
    addresses = {"api_url": "http://127.0.0.1:2", "redis_url": "", "chroma_url": ""}
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "up.json").write_text(
        json.dumps({"pid": 1, "started_at": "2025-01-01T00:00:00Z", **addresses})
    )
    assert "http://127.0.0.1:2" in run(None, "status", "job_1")[2]


def test_a_wrong_setting_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("API_PROT=1\n")
    status, _, complaint = run(None, "status", "job_1")
    assert status == 2
    assert "API_PROT" in complaint


def test_status_asks_for_documents_and_jobs(run: Run) -> None:
    api = FakeApi({"GET /v1/documents/doc_1": job("indexed"), "GET /v1/jobs/job_1": job("running")})
    assert "indexed" in run(api, "status", "doc_1")[1]
    assert json.loads(run(api, "status", "job_1", "--json")[1])["status"] == "running"


def test_verify_tells_consistent_from_not(run: Run) -> None:
    accepted = [httpx2.Response(202, json={"job_id": "job_1"})]
    api = FakeApi({VERIFY: accepted, "GET /v1/jobs/job_1": job(result=CONSISTENT)})
    assert run(api, "verify", "papers")[0] == 0
    broken = {**CONSISTENT, "missing": ["chunk-1"], "consistent": False}
    api = FakeApi({VERIFY: accepted, "GET /v1/jobs/job_1": job(result=broken)})
    status, output, _ = run(api, "verify", "papers")
    assert status == 5
    assert "chunk-1" in output
    assert json.loads(run(api, "verify", "papers", "--json")[1]) == broken


def test_a_verification_that_fails_is_a_failure(run: Run) -> None:
    failed = job("failed", error={"code": "attempts_exhausted", "title": "Failed too often", "detail": "chroma"})
    api = FakeApi({VERIFY: [httpx2.Response(202, json={"job_id": "job_1"})], "GET /v1/jobs/job_1": failed})
    status, _, complaint = run(api, "verify", "papers")
    assert status == 1
    assert complaint == "The verification failed. Failed too often: chroma (code attempts_exhausted)\n"


def test_ingest_reports_every_file(run: Run, tmp_path: Path) -> None:
    for name in ("good.pdf", "scan.pdf"):
        (tmp_path / name).write_bytes(b"%PDF")
    upload = "POST /v1/collections/default/documents"
    replies = {
        upload: [httpx2.Response(202, json={"job_id": "job_1", "document_id": "doc_1", "unchanged": True})],
    }
    assert run(FakeApi(replies), "ingest", "good.pdf", "scan.pdf")[0] == 0
    replies = {
        upload: [httpx2.Response(202, json={"job_id": "job_1", "document_id": "doc_1"})],
        "GET /v1/jobs/job_1/events": [events(("progress", {"step": "convert", "done": 1, "total": 2}), ("done", {}))],
        "GET /v1/jobs/job_1": job("failed", error={"code": "no_text", "title": "No text", "detail": "a scan?"}),
    }
    status, output, _ = run(FakeApi(replies), "ingest", "scan.pdf")
    assert status == 1
    assert "no_text: a scan?" in output


def test_ingest_wants_files_that_exist(run: Run) -> None:
    assert run(None, "ingest", "absent.pdf")[0] == 2


def test_a_second_up_on_a_folder_is_refused(run: Run, tmp_path: Path) -> None:
    with locked(tmp_path / "data"):
        status, _, complaint = run(None, "up", "--data-dir", "data")
    assert status == 1
    assert "already runs on" in complaint


def test_demo_without_samples_starts_nothing(run: Run, tmp_path: Path) -> None:
    status, _, complaint = run(None, "demo", "--samples", str(tmp_path))
    assert status == 1
    assert "holds no questions.json" in complaint
    assert not (tmp_path / "storage").exists()
