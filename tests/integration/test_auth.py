"""API keys: every address but the open ones wants one, whatever way it is sent."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import redis
from starlette.testclient import TestClient

from ragline.api import main
from ragline.api.main import create_app
from ragline.common.config import ApiConfig
from tests.support import pdfs

KEYS = ("first-key-0123456789abcdef", "second-key-fedcba9876543210")
OPEN = {"/healthz", "/readyz", "/errors/{code}"}
PROBLEM = "application/problem+json"
PLACES = {
    "name": "papers",
    "document_id": "doc_1",
    "job_id": "job_1",
    "task_id": "job_1",
    "code": "not_found",
    "model": "papers",
}

Headers = dict[str, str]


@pytest.fixture
def client(
    valkey_url: str, redis_client: "redis.Redis", objects_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    """An API process that demands a key, on an empty ledger."""
    monkeypatch.setattr(main, "configure_logging", lambda **_: None)
    (tmp_path / "uploads").mkdir()
    config = ApiConfig.model_validate(
        {
            "redis_url": valkey_url,
            "object_store_url": objects_url,
            "upload_root": tmp_path / "uploads",
            "chroma_url": "http://127.0.0.1:9",
            "enable_auth": True,
            # As people write lists: with a blank, and with a comma at the end.
            "api_keys": f"{KEYS[0]}, {KEYS[1]},",
            "rate_limit_general_per_minute": 0,
            "rate_limit_rag_per_minute": 0,
        }
    )
    with TestClient(create_app(config)) as client:
        yield client


def _operations(client: TestClient) -> list[tuple[str, str]]:
    paths = client.get("/openapi.json").json()["paths"]
    found = [(method.upper(), path) for path, item in paths.items() for method in item]
    assert len(found) >= 20
    assert {path for _, path in found} >= OPEN
    return found


def _path(template: str) -> str:
    return re.sub(r"{(\w+)}", lambda place: PLACES[place[1]], template)


def _assert_refused(reply: httpx2.Response) -> None:
    assert (reply.status_code, reply.headers["content-type"]) == (401, PROBLEM), reply.text
    assert reply.json()["code"] == "unauthorized"
    assert reply.json()["request_id"] == reply.headers["x-request-id"]
    assert reply.headers["www-authenticate"] == "Bearer"
    assert not any(key in reply.text for key in KEYS)


def test_every_address_but_the_open_ones_wants_a_key(client: TestClient) -> None:
    for method, template in _operations(client):
        if template not in OPEN:
            _assert_refused(client.request(method, _path(template)))


@pytest.mark.parametrize("header", ["X-API-Key", "Authorization"])
@pytest.mark.parametrize("key", KEYS)
def test_every_address_takes_every_key(client: TestClient, header: str, key: str) -> None:
    headers = {header: f"Bearer {key}" if header == "Authorization" else key}
    for method, template in _operations(client):
        status = client.request(method, _path(template), headers=headers).status_code
        assert status != 401, template


def test_the_open_addresses_are_open(client: TestClient) -> None:
    for path in ("/healthz", "/errors/unauthorized", "/docs", "/redoc", "/openapi.json"):
        assert client.get(path).status_code == 200, path
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["code"]) == (503, "dependency_unavailable")
    assert "chroma" in ready.json()["detail"]
    _assert_refused(client.get("/nowhere"))
    assert client.get("/nowhere", headers={"X-API-Key": KEYS[0]}).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "wrong"},
        {"X-API-Key": KEYS[0][:-1]},
        {"X-API-Key": KEYS[0] + "x"},
        {"X-API-Key": KEYS[0].upper()},
        {"X-API-Key": f"{KEYS[0]}, {KEYS[1]},"},
        {"X-API-Key": f"{KEYS[0]},{KEYS[1]}"},
        {"X-API-Key": ""},
        {"X-API-Key": " "},
        {"X-API-Key": ","},
        {"X-API-Key": f"Bearer {KEYS[0]}"},
        {"X-API-Key": "x" * 10_000},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": KEYS[0]},
        {"Authorization": f"Basic {KEYS[0]}"},
        {"Authorization": f"Bearer {KEYS[0][:-1]}"},
        {"Authorization": f"Bearer {KEYS[0]} {KEYS[1]}"},
        {"Cookie": f"X-API-Key={KEYS[0]}"},
    ],
    ids=lambda headers: ": ".join(next(iter(headers.items())))[:50],
)
def test_what_is_no_key_is_refused(client: TestClient, headers: Headers) -> None:
    _assert_refused(client.get("/v1/collections", headers=headers))


def test_a_key_in_the_address_is_refused(client: TestClient) -> None:
    """Addresses end up in logs of proxies."""
    _assert_refused(client.get("/v1/collections", params={"api_key": KEYS[0], "X-API-Key": KEYS[0]}))


def test_bytes_that_are_no_text_are_refused(client: TestClient) -> None:
    for raw in (b"\xff\xfe", KEYS[0].encode() + b"\xe9"):
        _assert_refused(client.get("/v1/collections", headers=[(b"X-API-Key", raw)]))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_has_no_case(client: TestClient, scheme: str) -> None:
    assert client.get("/v1/collections", headers={"Authorization": f"{scheme} {KEYS[1]}"}).status_code == 200


def test_a_wrong_key_beside_a_right_one_is_refused(client: TestClient) -> None:
    both = {"X-API-Key": "wrong", "Authorization": f"Bearer {KEYS[0]}"}

    _assert_refused(client.get("/v1/collections", headers=both))


def test_an_upload_without_a_key_leaves_nothing_behind(client: TestClient, tmp_path: Path) -> None:
    upload = {"file": ("a.pdf", pdfs.text_pdf(["x"]))}
    path = "/v1/collections/papers/documents"

    _assert_refused(client.post(path, files=upload))
    assert [file for file in (tmp_path / "objects").rglob("*") if file.is_file()] == []
    assert client.get("/v1/collections", headers={"X-API-Key": KEYS[0]}).json()["collections"] == []
    assert client.post(path, files=upload, headers={"X-API-Key": KEYS[0]}).status_code == 202


def test_both_keys_own_the_same_documents(client: TestClient) -> None:
    upload = {"file": ("a.pdf", pdfs.text_pdf(["x"]))}
    path = "/v1/collections/papers/documents"
    submission = client.post(path, files=upload, headers={"X-API-Key": KEYS[0]}).json()

    seen = client.get(path, headers={"Authorization": f"Bearer {KEYS[1]}"}).json()["documents"]

    assert [document["id"] for document in seen] == [submission["document_id"]]
