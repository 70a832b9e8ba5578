"""Bad input: a clear typed error, nothing lost, everybody else unharmed."""

import os
from typing import Any

import httpx2
import pytest

from tests.support import pdfs
from tests.support.stack import Stack

PROBLEM = "application/problem+json"


@pytest.mark.parametrize(
    ("name", "data", "status", "code"),
    [
        ("a.pdf", pdfs.not_a_pdf(), 415, "unsupported_media_type"),
        ("a.pdf", b"", 422, "empty_upload"),
        ("a.pdf", b"%PDF-1.7" + b"x" * (5 * 2**20), 413, "too_large"),
        ("../../etc/passwd", pdfs.text_pdf(["x"]), 422, "invalid_request"),
        ("a\0b.pdf", pdfs.text_pdf(["x"]), 422, "invalid_request"),
        ("ü" * 4096, pdfs.text_pdf(["x"]), 422, "invalid_request"),
        ("", pdfs.text_pdf(["x"]), 422, "invalid_request"),
    ],
    ids=["not-a-pdf", "0-bytes", "over-the-byte-limit", "path", "nul", "4-kb-name", "no-name"],
)
def test_refused_at_the_door(stack: Stack, name: str, data: bytes, status: int, code: str) -> None:
    reply = stack.client.post(
        "/v1/collections/refused/documents",
        params={"name": name},
        content=data,
        headers={"Content-Type": "application/pdf"},
    )

    _assert_problem(reply, status, code)
    _assert_problem(stack.client.get("/v1/collections/refused"), 404, "not_found")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (pdfs.truncated_pdf(), "malformed_pdf"),
        (pdfs.header_only_pdf(), "malformed_pdf"),
        (pdfs.page_tree_loop_pdf(), "malformed_pdf"),
        (pdfs.encrypted_pdf("secret"), "encrypted"),
        (pdfs.image_only_pdf(), "no_text"),
        (pdfs.whitespace_pdf(), "no_text"),
        (pdfs.text_pdf(["page"] * 61), "too_many_pages"),
        (pdfs.long_text_pdf(60, 1), "too_large"),
        (pdfs.fanout_bomb_pdf(), None),
        (pdfs.operator_bomb_pdf(), "too_many_pages"),
        (pdfs.flate_bomb_pdf(), None),
        (pdfs.long_string_pdf(), None),
    ],
    ids=[
        "truncated",
        "header-only",
        "page-tree-loop",
        "encrypted",
        "image-only",
        "whitespace",
        "over-the-page-limit",
        "over-the-text-limit",
        "fan-out-bomb",
        "operator-bomb",
        "flate-bomb",
        "long-string",
    ],
)
def test_fails_alone_with_a_reason(stack: Stack, data: bytes, code: str | None, request: pytest.FixtureRequest) -> None:
    name = f"{request.node.callspec.id}.pdf"

    bad = stack.upload("poisoned", name, data)
    good = stack.upload("poisoned", f"good-{name}", pdfs.text_pdf([f"A good neighbour of {name}."]))

    assert stack.finished_job(good["job_id"])["status"] == "succeeded"
    job = stack.finished_job(bad["job_id"], timeout_seconds=100)
    if code is not None:
        assert (job["status"], job["error"]["code"]) == ("failed", code)
        document = stack.client.get(f"/v1/documents/{bad['document_id']}").json()
        assert (document["state"], document["error"]["code"]) == ("failed", code)
    else:
        # Bombs: whether a parser survives them is its own affair; that the outcome is typed is ours.
        assert job["status"] == "succeeded" or job["error"]["code"] in {
            "parser_crashed",
            "parser_timeout",
            "no_text",
            "too_large",
        }
    assert job["attempts"] <= 3


def test_an_empty_user_password_is_no_obstacle(stack: Stack) -> None:
    assert stack.ingest("locked", "owner.pdf", pdfs.owner_locked_pdf())["status"] == "succeeded"


@pytest.mark.parametrize("path", ["../uploads.pdf", "/etc/passwd", "folder", "link.pdf", "absent.pdf", "a\0b", "fifo"])
def test_pdf_path_is_confined(stack: Stack, path: str) -> None:
    uploads = stack.folder / "uploads"
    (uploads / "folder").mkdir(exist_ok=True)
    (stack.folder / "outside.pdf").write_bytes(pdfs.text_pdf(["x"]))
    if not (uploads / "link.pdf").is_symlink():
        (uploads / "link.pdf").symlink_to(stack.folder / "outside.pdf")
        os.mkfifo(uploads / "fifo")

    reply = stack.client.post("/rag/pipeline", json={"pdf_path": path, "persist_directory": "confined"})

    assert _assert_problem(reply, 404, "not_found")["detail"] == "There is no such file in the upload folder"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/collections/absent"),
        ("GET", "/v1/collections/absent/documents"),
        ("GET", "/v1/documents/doc_absent"),
        ("DELETE", "/v1/documents/doc_absent"),
        ("GET", "/v1/jobs/job_absent"),
        ("DELETE", "/v1/jobs/job_absent"),
        ("GET", "/v1/jobs/job_absent/events"),
        ("GET", f"/v1/documents/doc_{'0' * 24}"),
        ("DELETE", f"/v1/documents/doc_{'0' * 24}"),
        ("GET", f"/v1/jobs/job_{'0' * 24}"),
        ("DELETE", f"/v1/jobs/job_{'0' * 24}"),
        ("GET", "/tasks/status/absent"),
        # Names of other keys of the ledger.
        ("GET", "/v1/collections/known:names"),
        ("GET", "/v1/collections/known:documents"),
        ("GET", "/v1/collections/known:names/documents"),
        ("POST", "/v1/collections/known:names/verifications"),
        ("GET", "/v1/documents/{doc}:originals"),
        ("DELETE", "/v1/documents/{doc}:originals"),
        ("GET", "/v1/documents/{job}"),
        ("GET", "/v1/jobs/{job}:events"),
        ("DELETE", "/v1/jobs/{job}:events"),
        ("GET", "/v1/jobs/{job}:events/events"),
        ("GET", "/tasks/status/{job}:events"),
        ("GET", "/tasks/status/{job}."),
        ("GET", "/tasks/status/{job}.answer"),
        ("POST", "/v1/collections/absent/verifications"),
        ("GET", "/nowhere"),
    ],
)
def test_unknown_things_are_404(stack: Stack, method: str, path: str) -> None:
    known = stack.upload("known", "note.pdf", pdfs.text_pdf(["A note."]))
    address = path.format(job=known["job_id"], doc=known["document_id"])

    problem = _assert_problem(stack.client.request(method, address), 404, "not_found")

    assert problem["detail"].startswith("There is no")


def test_a_question_to_an_unknown_collection_is_404(stack: Stack) -> None:
    for name in ("absent", "known:names"):
        reply = stack.client.post(f"/v1/collections/{name}/queries", json={"question": "Why?"})
        _assert_problem(reply, 404, "not_found")
    body = {"question": "Why?", "persist_directory": "stores/absent"}
    _assert_problem(stack.client.post("/rag/query/sync", json=body), 404, "not_found")


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/v1/collections/any/queries", {"question": ""}, "/body/question"),
        ("/v1/collections/any/queries", {"question": "   "}, "/body/question"),
        ("/v1/collections/any/queries", {"question": "x" * 100_000}, "/body/question"),
        ("/v1/collections/any/queries", {"question": "Why?", "top_k": 0}, "/body/top_k"),
        ("/v1/collections/any/queries", {"question": "Why?", "top_k": -1}, "/body/top_k"),
        ("/v1/collections/any/queries", {"question": "Why?", "top_k": 10**6}, "/body/top_k"),
        ("/v1/collections/any/queries", {"question": "Why?", "topk": 3}, "/body/topk"),
        ("/tasks/calculate/add", {"x": "five", "y": 1}, "/body/x"),
        ("/tasks/calculate/add", {"x": "5", "y": 1}, "/body/x"),
        ("/tasks/calculate/add", {"x": True, "y": 1}, "/body/x"),
        ("/tasks/calculate/add", {"x": 99999999999999999999999, "y": 1}, "/body/x"),
        ("/tasks/calculate/add", {"x": -(2**53), "y": 1}, "/body/x"),
        ("/tasks/calculate/add", {"x": 1, "y": 1e300}, "/body/y"),
        ("/v1/collections/any/queries", {"question": "Why?", "top_k": "3"}, "/body/top_k"),
        ("/v1/collections/any/queries", {"question": "Why?", "top_k": True}, "/body/top_k"),
        ("/tasks/calculate/add", {"x": 1}, "/body/y"),
        ("/tasks/calculate/add", [], "/body"),
        ("/tasks/process", {"data": 7}, "/body/data"),
    ],
)
def test_wrong_types_are_named_by_pointer(
    stack: Stack, path: str, body: dict[str, object] | list[object], pointer: str
) -> None:
    problem = _assert_problem(stack.client.post(path, json=body), 422, "invalid_request")

    assert any(field["pointer"].startswith(pointer) for field in problem["errors"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tasks/calculate/divide", {"dividend": 1, "divisor": 0}),
        ("/tasks/workflow/chain", {"x": 1, "y": 1, "divisor": 0}),
        ("/tasks/workflow/parallel", {"x": 1, "y": 1, "z": 0}),
    ],
)
def test_division_by_zero_is_refused_at_once(stack: Stack, path: str, body: dict[str, int]) -> None:
    _assert_problem(stack.client.post(path, json=body), 422, "division_by_zero")


@pytest.mark.parametrize("event_id", ["99999999999999999999", "0-18446744073709551616", "x", "1-", "-1", "\u0661"])
def test_an_event_id_no_stream_has_is_422(stack: Stack, event_id: str) -> None:
    headers = [(b"Last-Event-ID", event_id.encode())]
    reply = stack.client.get(f"/v1/jobs/job_{'0' * 24}/events", headers=headers)

    problem = _assert_problem(reply, 422, "invalid_request")
    assert [field["pointer"] for field in problem["errors"]] == ["/header/Last-Event-ID"]


def test_a_bad_collection_name_is_refused_before_the_form_is_read(stack: Stack) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    reply = stack.client.post("/v1/collections/a:b/documents", content=b"no form", headers=headers)

    assert "collection name" in _assert_problem(reply, 422, "invalid_request")["detail"]


def test_malformed_json_is_422(stack: Stack) -> None:
    reply = stack.client.post("/tasks/calculate/add", content=b"{nope", headers={"Content-Type": "application/json"})

    _assert_problem(reply, 422, "invalid_request")


def test_a_wrong_method_is_405(stack: Stack) -> None:
    _assert_problem(stack.client.delete("/tasks/info"), 405, "method_not_allowed")


def test_a_large_json_body_is_413(stack: Stack) -> None:
    _assert_problem(stack.client.post("/tasks/process", json={"data": "x" * 2**21}), 413, "too_large")


def _assert_problem(reply: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    problem: dict[str, Any] = reply.json()
    assert (reply.status_code, reply.headers["content-type"], problem["code"]) == (status, PROBLEM, code), reply.text
    assert problem["request_id"] == reply.headers["x-request-id"]
    assert problem["status"] == status
    return problem
