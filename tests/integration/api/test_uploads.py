"""Uploads through the running API: nothing stays of what was refused, and memory is flat."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.api import SERVERS, ApiAlone, running_api
from tests.support.forms import BOUNDARY, FORM_TYPE, form, form_part
from tests.support.waiting import wait_until

MEBIBYTE = 2**20
LARGE_BYTES = 100 * MEBIBYTE
MAX_GROWTH_BYTES = 20 * MEBIBYTE
DOCUMENTS = "/v1/collections/papers/documents"
PDF = b"%PDF-1.7\n" + b"x" * 3000
METADATA = form_part("metadata", b'{"year": 2024, "team": "HR"}')


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiAlone]:
    settings = {"MAX_UPLOAD_BYTES": str(LARGE_BYTES + MEBIBYTE)}
    with running_api(tmp_path_factory.mktemp("api"), "uvicorn", settings) as running:
        yield running


def _file(name: str, data: bytes = PDF) -> bytes:
    return form_part("file", data + name.encode(), file_name=name)


def _originals(api: ApiAlone) -> list[Path]:
    """Everything in the object store, half-written parts included."""
    return [path for path in api.objects.rglob("*") if path.is_file()]


def _post(api: ApiAlone, path: str, content: bytes | Iterator[bytes], kind: str = FORM_TYPE, **headers: str) -> Any:  # noqa: ANN401 - a reply
    return api.client.post(path, content=content, headers={"Content-Type": kind, **headers})


def _large(prefix: bytes, suffix: bytes = b"") -> Iterator[bytes]:
    yield prefix
    block = b"\0" * 65_536
    for _ in range(LARGE_BYTES // len(block)):
        yield block
    yield suffix


def _upload_large(api: ApiAlone, name: str, *, as_form: bool) -> httpx2.Response:
    header = b"%PDF-1.7\n" + name.encode()
    if as_form:
        [head, tail] = form([form_part("file", b"<data>", file_name=name)]).split(b"<data>")
        reply: httpx2.Response = _post(api, DOCUMENTS, _large(head + header, tail))
        return reply
    raw: httpx2.Response = _post(api, f"{DOCUMENTS}?name={name}", _large(header), "application/pdf")
    return raw


@pytest.mark.slow
def test_memory_is_flat_however_large_the_upload(api: ApiAlone) -> None:
    """The peak counts, not only what is left."""
    assert _post(api, f"{DOCUMENTS}?name=first.pdf", PDF, "application/pdf").status_code == 202
    before = api.memory_bytes("VmRSS")
    for name, as_form in (("form.pdf", True), ("raw.pdf", False)):
        assert _upload_large(api, name, as_form=as_form).status_code == 202
    assert api.memory_bytes("VmHWM") - before < MAX_GROWTH_BYTES

    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda number: _upload_large(api, f"{number}.pdf", as_form=number % 2 == 0), range(4)))

    assert [reply.status_code for reply in replies] == [202] * 4
    assert api.memory_bytes("VmHWM") - before < MAX_GROWTH_BYTES
    stored = [path for path in _originals(api) if path.stat().st_size > LARGE_BYTES]
    assert len(stored) == 6
    for path in stored:
        path.unlink()


def test_a_form_and_raw_bytes_are_the_same_document(api: ApiAlone) -> None:
    as_form = _post(api, DOCUMENTS, form([METADATA, form_part("file", PDF, file_name="same.pdf")]))
    query = {"name": "same.pdf", "metadata": '{"year": 2024, "team": "HR"}'}
    raw = api.client.post(DOCUMENTS, params=query, content=PDF, headers={"Content-Type": "application/pdf"})

    assert (as_form.status_code, raw.status_code) == (202, 202)
    assert raw.json()["document_id"] == as_form.json()["document_id"]
    assert raw.json()["unchanged"]
    assert raw.headers["location"] == f"/v1/jobs/{raw.json()['job_id']}"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (form([METADATA, _file("a.pdf")])[:-30], FORM_TYPE),
        (form([METADATA, _file("a.pdf")])[:1500], FORM_TYPE),
        (form([_file("a.pdf"), METADATA]), FORM_TYPE),
        (form([_file("a.pdf"), _file("b.pdf")]), FORM_TYPE),
        (form([form_part("note", b"x"), _file("a.pdf")]), FORM_TYPE),
        (form([METADATA]), FORM_TYPE),
        (form([form_part("metadata", b'{"year": null}'), _file("a.pdf")]), FORM_TYPE),
        (form([_file("a.pdf")]), "multipart/form-data"),
        (form([_file("a.pdf")]), "multipart/form-data; boundary=other"),
        (b"--" + BOUNDARY + b"\r\nno colon\r\n\r\n" + PDF, FORM_TYPE),
        (b"", FORM_TYPE),
    ],
    ids=[
        "broken-off-at-the-end",
        "broken-off-in-the-file",
        "metadata-too-late",
        "two-files",
        "unknown-field",
        "no-file",
        "bad-metadata",
        "no-boundary",
        "another-boundary",
        "bad-header",
        "no-bytes",
    ],
)
@pytest.mark.parametrize("path", ["/documents", "/documents/batch"])
def test_a_bad_form_leaves_nothing_behind(api: ApiAlone, content: bytes, kind: str, path: str) -> None:
    before = _originals(api)

    reply = _post(api, f"/v1/collections/refused{path}", content, kind)

    problem = reply.json()
    if path == "/documents/batch" and reply.status_code == 202:
        # Of a batch whose end is bad, what came before it has been accepted; elsewhere these forms are good ones.
        assert any(result["submission"] for result in problem["results"])
        return
    assert (reply.status_code, problem["code"]) == (422, "invalid_request"), problem
    assert reply.headers["content-type"] == "application/problem+json"
    assert _originals(api) == before


def test_a_client_that_leaves_in_its_upload_leaves_nothing_behind(api: ApiAlone) -> None:
    before = _originals(api)
    whole = form([_file("left.pdf", PDF * 1000)])
    head = f"POST {DOCUMENTS} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM_TYPE}\r\nContent-Length: {len(whole)}\r\n\r\n"
    with api.connect() as connection:
        connection.sendall(head.encode() + whole[: len(whole) // 2])
        wait_until(lambda: _originals(api) != before, timeout_seconds=10)

    wait_until(lambda: _originals(api) == before, timeout_seconds=10)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [('{"a": [1]}', "/query/metadata/a"), ("[]", "/query/metadata"), ("{", "/query/metadata"), ("", "/query/metadata")],
)
def test_bad_metadata_of_raw_bytes_is_refused_unread(api: ApiAlone, query: str, pointer: str) -> None:
    parameters = {"name": "a.pdf", "metadata": query}
    reply = api.client.post(DOCUMENTS, params=parameters, content=PDF, headers={"Content-Type": "application/pdf"})

    assert reply.status_code == 422
    assert [error["pointer"] for error in reply.json()["errors"]] == [pointer]


@pytest.mark.parametrize("key", [b"", b"x" * 256, "\u00fc".encode(), b"a\tb"], ids=repr)
def test_an_idempotency_key_is_printable_ascii(api: ApiAlone, key: bytes) -> None:
    headers = [(b"Content-Type", b"application/pdf"), (b"Idempotency-Key", key)]
    reply = api.client.post(f"{DOCUMENTS}?name=a.pdf", content=PDF, headers=headers)

    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request")


def test_a_sane_idempotency_key_is_taken(api: ApiAlone) -> None:
    for key in ("x", "x" * 255, "8e03978e-40d5-43dd-bc93-6894a57f9324", '"a b"'):
        reply = _post(api, f"{DOCUMENTS}?name=key.pdf", PDF, "application/pdf", **{"Idempotency-Key": key})
        assert reply.status_code == 202, reply.text


def test_each_file_of_a_batch_has_its_own_outcome(api: ApiAlone) -> None:
    files = [_file("a.pdf"), form_part("file", b"<html>", file_name="page.html"), _file("b.pdf")]

    reply = _post(api, "/v1/collections/batch/documents/batch", form([METADATA, *files]))

    assert reply.status_code == 202
    first, page, second = reply.json()["results"]
    assert [first["name"], page["name"], second["name"]] == ["a.pdf", "page.html", "b.pdf"]
    assert (page["submission"], page["problem"]["code"]) == (None, "unsupported_media_type")
    assert page["problem"]["request_id"] == reply.headers["x-request-id"]
    for done in (first, second):
        assert done["problem"] is None
        assert api.client.get(done["submission"]["links"]["job"]).json()["status"] == "queued"
    documents = api.client.get("/v1/collections/batch/documents").json()["documents"]
    assert [document["name"] for document in documents] == ["a.pdf", "b.pdf"]


def test_a_batch_sent_again_changes_nothing(api: ApiAlone) -> None:
    content = form([_file(f"{number}.pdf") for number in range(30)])
    first, again = (_post(api, "/v1/collections/again/documents/batch", content).json() for _ in range(2))

    def ids(reply: dict[str, Any]) -> list[str]:
        return [done["submission"]["document_id"] for done in reply["results"]]

    assert ids(again) == ids(first)
    assert [done["submission"]["unchanged"] for done in again["results"]] == [True] * 30


def test_more_files_than_a_batch_may_have(api: ApiAlone) -> None:
    content = form([form_part("file", b"", file_name="a.pdf")] * 1001 + [_file("late.pdf")])

    reply = _post(api, "/v1/collections/many/documents/batch", content)

    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_request")


def test_a_batch_is_a_form(api: ApiAlone) -> None:
    reply = _post(api, "/v1/collections/batch/documents/batch?name=a.pdf", PDF, "application/pdf")

    assert (reply.status_code, reply.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("server", SERVERS)
def test_a_ledger_that_goes_away_in_a_batch(tmp_path: Path, server: str) -> None:
    with running_api(tmp_path, server) as api:

        def parts() -> Iterator[bytes]:
            yield METADATA
            for number in range(20):
                yield _file(f"{number}.pdf")
                if number == 9:
                    wait_until(lambda: len(_originals(api)) >= 9, timeout_seconds=10)
                    api.valkey.kill()
            yield form([])

        reply = _post(api, "/v1/collections/outage/documents/batch", parts())
        results = reply.json()["results"]

        assert reply.status_code == 202, json.dumps(results)
        assert [done["name"] for done in results] == [f"{number}.pdf" for number in range(20)]
        accepted = [done["submission"] is not None for done in results]
        assert accepted == sorted(accepted, reverse=True)
        assert 1 <= sum(accepted) <= 11
        problems = [done["problem"] for done in results if done["problem"]]
        assert {(problem["code"], problem["retryable"]) for problem in problems} == {("dependency_unavailable", True)}

        assert _post(api, "/v1/collections/outage/documents/batch", form([_file("a.pdf")] * 3)).status_code == 503
