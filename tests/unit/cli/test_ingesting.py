import io
import threading
from pathlib import Path

import httpx2
import pytest
from rich.console import Console

from ragline.cli.client import RaglineClient
from ragline.cli.failures import ApiUnreachable
from ragline.cli.ingesting import Outcome, ingest_files, outcome_table
from tests.support.fake_api import FakeApi, events, problem

UPLOAD = "POST /v1/collections/papers/documents"
EVENTS = "GET /v1/jobs/job_1/events"
JOB = "GET /v1/jobs/job_1"
ACCEPTED = httpx2.Response(202, json={"job_id": "job_1", "document_id": "doc_1"})
PROGRESS = events(("progress", {"step": "split", "done": 1, "total": 2, "unit": "pages"}), ("done", {}))


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    path = tmp_path / "paper.pdf"
    path.write_bytes(b"%PDF")
    return path


def ingest(api: FakeApi, *files: Path, wait: bool = True) -> list[Outcome]:
    with RaglineClient("http://api", transport=api.transport, pause=lambda _: None) as client:
        return ingest_files(client, files, collection="papers", wait=wait, console=Console(file=io.StringIO()))


def ended(status: str, **fields: object) -> list[httpx2.Response]:
    return [httpx2.Response(200, json={"id": "job_1", "status": status, **fields})]


def test_a_document_is_followed_to_its_end(paper: Path) -> None:
    api = FakeApi({UPLOAD: [ACCEPTED], EVENTS: [PROGRESS], JOB: ended("succeeded")})
    assert ingest(api, paper) == [Outcome(name="paper.pdf", state="indexed", document_id="doc_1")]


def test_a_broken_stream_does_not_matter(paper: Path) -> None:
    api = FakeApi({UPLOAD: [ACCEPTED], EVENTS: [problem(500, "internal_error")], JOB: ended("succeeded")})
    assert ingest(api, paper)[0].ok


def test_without_waiting_nothing_more_is_asked(paper: Path) -> None:
    api = FakeApi({UPLOAD: [ACCEPTED]})
    assert [outcome.state for outcome in ingest(api, paper, wait=False)] == ["accepted"]
    assert len(api.requests) == 1


def test_one_failure_stops_no_other(paper: Path, tmp_path: Path) -> None:
    absent = tmp_path / "absent.pdf"
    refused = problem(415, "unsupported_media_type", title="Only PDF")
    outcomes = ingest(FakeApi({UPLOAD: [refused]}), absent, paper)
    assert [(outcome.name, outcome.state, outcome.code) for outcome in outcomes] == [
        ("absent.pdf", "failed", ""),
        ("paper.pdf", "failed", "unsupported_media_type"),
    ]
    assert outcomes[0].reason == "cannot be read: No such file or directory"


def test_a_cancelled_job_is_not_fine(paper: Path) -> None:
    api = FakeApi({UPLOAD: [ACCEPTED], EVENTS: [PROGRESS], JOB: ended("cancelled")})
    assert not ingest(api, paper)[0].ok


def test_nobody_at_the_address_ends_it(paper: Path) -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    client = RaglineClient("http://api", transport=httpx2.MockTransport(refuse))
    with client, pytest.raises(ApiUnreachable):
        ingest_files(client, [paper], collection="papers", wait=True, console=Console(file=io.StringIO()))


def test_four_uploads_at_once(paper: Path) -> None:
    together = threading.Barrier(4, timeout=10)

    def answer(_: httpx2.Request) -> httpx2.Response:
        together.wait()
        return httpx2.Response(202, json={"job_id": "job_1"})

    with RaglineClient("http://api", transport=httpx2.MockTransport(answer)) as client:
        outcomes = ingest_files(
            client, [paper] * 8, collection="papers", wait=False, console=Console(file=io.StringIO())
        )
    assert len(outcomes) == 8


def test_the_table_gives_code_and_reason() -> None:
    screen = io.StringIO()
    outcomes = [
        Outcome(name="[a].pdf", state="indexed", document_id="doc_1"),
        Outcome(name="b.pdf", state="failed", code="no_text", reason="a scan?"),
    ]
    Console(file=screen, width=100).print(outcome_table(outcomes))
    assert "[a].pdf" in screen.getvalue()
    assert "no_text: a scan?" in screen.getvalue()
