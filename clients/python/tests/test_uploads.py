import io
from pathlib import Path

import pytest

from clients.python.tests.conftest import MakeClient
from clients.python.tests.fake import FakeApi, reply
from clients.python.tests.test_retries import OnePass
from ragline_client import RateLimited

UPLOAD = "POST /v1/collections/papers/documents"
BATCH = "POST /v1/collections/papers/documents/batch"
SIZE = 150_000


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    path = tmp_path / "paper.pdf"
    path.write_bytes(b"%PDF-1.7" + b"x" * (SIZE - 8))
    return path


def accepted() -> FakeApi:
    submission = {"job_id": "job_1", "document_id": "doc_1", "generation": 4, "status": "queued", "links": {}}
    return FakeApi({UPLOAD: [reply(submission, 202)]})


def test_an_upload_is_a_form_with_the_metadata_in_front(make_client: MakeClient, paper: Path) -> None:
    api = accepted()

    job = make_client(api).upload("papers", paper, metadata={"year": 2024, "draft": False})

    assert (job.id, job.document_id, job.submission.generation, job.submission.unchanged) == (
        "job_1",
        "doc_1",
        4,
        False,
    )
    body = api.requests[0].content
    assert b'name="file"; filename="paper.pdf"' in body
    assert 0 < body.index(b'{"year": 2024, "draft": false}') < body.index(b"%PDF-1.7")
    assert int(api.requests[0].headers["Content-Length"]) == len(body)


def test_progress_is_told_as_bytes_of_the_file(make_client: MakeClient, paper: Path) -> None:
    told: list[tuple[int, int | None]] = []

    make_client(accepted()).upload("papers", paper, progress=lambda sent, total: told.append((sent, total)))

    assert told == [(65_536, SIZE), (131_072, SIZE), (SIZE, SIZE)]


def test_progress_of_a_pipe_has_no_total(make_client: MakeClient) -> None:
    told: list[tuple[int, int | None]] = []
    api = accepted()

    make_client(api).upload(
        "papers", OnePass(b"%PDF"), name="a.pdf", progress=lambda sent, total: told.append((sent, total))
    )

    assert told == [(4, None)]
    assert api.requests[0].headers["Transfer-Encoding"] == "chunked"


def test_a_file_has_its_own_name_and_another_when_given(make_client: MakeClient, paper: Path) -> None:
    api = accepted()
    client = make_client(api)
    with paper.open("rb") as file:
        client.upload("papers", file)
        client.upload("papers", file, name="other.pdf")
    client.upload("papers", str(paper))

    names = [request.content.partition(b'filename="')[2].partition(b'"')[0] for request in api.requests]
    assert names == [b"paper.pdf", b"other.pdf", b"paper.pdf"]


@pytest.mark.parametrize("source", [b"%PDF", io.BytesIO(b"%PDF"), OnePass(b"%PDF")])
def test_bytes_need_a_name(make_client: MakeClient, source: object) -> None:
    with pytest.raises(ValueError, match="name="):
        make_client(accepted()).upload("papers", source)


def test_many_documents_go_in_few_requests_and_each_has_its_outcome(make_client: MakeClient, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.pdf" for number in range(25)]
    for path in paths:
        path.write_bytes(b"%PDF-1.7")
    full = {"status": 429, "code": "backlog_full", "title": "Too much waits", "retryable": True}
    first = [{"name": path.name, "submission": {"job_id": f"job_{path.stem}"}} for path in paths[:20]]
    second = [{"name": path.name, "problem": full} for path in paths[20:]]
    api = FakeApi({BATCH: [reply({"results": first}, 202), reply({"results": second}, 202)]})

    results = make_client(api).upload_many("papers", paths, metadata={"year": 2024})

    assert [result.name for result in results] == [path.name for path in paths]
    assert [result.job.id for result in results if result.job] == [f"job_{number}" for number in range(20)]
    errors = [result.error for result in results if result.error]
    assert [(type(error), error.code, error.retryable) for error in errors] == [(RateLimited, "backlog_full", True)] * 5
    assert [request.content.count(b"filename=") for request in api.requests] == [20, 5]
    assert all(b'{"year": 2024}' in request.content for request in api.requests)
    assert len(set(api.sent("Idempotency-Key"))) == 2


def test_documents_of_one_name_do_not_replace_each_other(make_client: MakeClient) -> None:
    with pytest.raises(ValueError, match=r"More than one document is called a\.pdf"):
        make_client(FakeApi({})).upload_many("papers", ["x/a.pdf", "y/a.pdf", "b.pdf"])


def test_a_missing_file_is_the_callers_own_error(make_client: MakeClient, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        make_client(accepted()).upload("papers", tmp_path / "none.pdf")
