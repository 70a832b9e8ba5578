"""Every error code, provoked once: what the caller gets, and that it leads to a page about it.

What ends a job is told here by the worker's own ledger; the documents and models that really bring it about are in
`test_bad_input`, `test_providers` and `worker`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis
from fastapi import FastAPI
from starlette.testclient import TestClient

from ragline.api import main
from ragline.api.error_pages import PAGES
from ragline.api.main import create_app
from ragline.common import errors
from ragline.common.access import Scope
from ragline.common.config import ApiConfig
from ragline.common.errors import DependencyError, InternalError, RagError, error_class
from ragline.common.messages import StepMessage
from ragline.common.queues import Step
from ragline.stores.api_keys import ApiKeyAdministration
from ragline.stores.ledger.claims import Claim
from ragline.stores.ledger.keys import collection_key
from ragline.stores.ledger.working import WorkLedger
from tests.support import pdfs
from tests.support.servers import Process, free_port, valkey_server

KEY = "the-plain-key-of-these-tests"
DOCUMENTS = "/v1/collections/papers/documents"
SECTIONS = re.findall(r"^## (\w+)$", Path("docs/errors.md").read_text(encoding="utf-8"), re.MULTILINE)

Outcome = httpx2.Response | Mapping[str, Any]


@dataclass(kw_only=True)
class Service:
    """An API in this process, and the ledger as a worker sees it."""

    app: FastAPI
    api: TestClient
    ledger: WorkLedger
    redis: Any
    valkey: Process

    def claim(self, job_id: str, step: Step) -> Claim:
        """The job's step, taken as a worker takes it."""
        claim = self.ledger.claim(StepMessage(job_id=job_id, step=step), "worker")
        assert claim is not None
        return claim

    def job_error(self, job_id: str) -> Mapping[str, Any]:
        """Why a job ended."""
        job = self.api.get(f"/v1/jobs/{job_id}").json()
        assert job["status"] in {"failed", "cancelled"}
        error: Mapping[str, Any] = job["error"]
        return error

    def key(self, tenant: str, scopes: frozenset[Scope], **limits: int) -> dict[str, str]:
        """A header with a new key."""
        administration = ApiKeyAdministration(self.redis)
        _, token = administration.create(name="test", tenant=tenant, scopes=scopes, limits=limits)
        return {"X-API-Key": token}

    def upload(self, text: str = "x", **request: Any) -> httpx2.Response:  # noqa: ANN401 - of `post`
        """The reply to an upload of `paper.pdf`."""
        return self.api.post(DOCUMENTS, files={"file": ("paper.pdf", pdfs.text_pdf([text]))}, **request)


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """The API with every bound low, on a Valkey that may be taken away."""
    monkeypatch.setattr(main, "configure_logging", lambda **_: None)
    (tmp_path / "uploads").mkdir()
    with ExitStack() as exits:
        url, valkey = exits.enter_context(valkey_server(tmp_path / "valkey"))
        client = exits.enter_context(redis.Redis.from_url(url, decode_responses=True))
        config = ApiConfig.model_validate(
            {
                "api_keys": KEY,
                "chroma_url": f"http://127.0.0.1:{free_port()}",
                "enable_auth": True,
                "max_backlog": 3,
                "max_backlog_per_tenant": 2,
                "max_streams": 1,
                "max_streams_per_tenant": 1,
                "max_upload_bytes": 2**16,
                "object_store_url": f"file://{tmp_path}/objects",
                "rate_limit_general_per_minute": 0,
                "rate_limit_rag_per_minute": 0,
                "redis_url": url,
                "tenant_tokens_per_day": 1,
                "upload_root": tmp_path / "uploads",
            }
        )
        app = create_app(config)

        @app.get("/defect")
        async def _defect() -> None:
            raise RuntimeError

        api = exits.enter_context(TestClient(app, headers={"X-API-Key": KEY}, raise_server_exceptions=False))
        yield Service(app=app, api=api, ledger=WorkLedger(client), redis=client, valkey=valkey)


def _ended_by(kind: type[RagError]) -> Callable[[Service], Outcome]:
    def provoke(service: Service) -> Outcome:
        job_id = service.upload().json()["job_id"]
        error = kind("chroma", "add", "refused") if issubclass(kind, DependencyError) else kind("what happened")
        service.ledger.fail(service.claim(job_id, Step.CONVERT), error)
        return service.job_error(job_id)

    return provoke


def _attempts_exhausted(service: Service) -> Outcome:
    job_id = service.upload().json()["job_id"]
    claim = service.claim(job_id, Step.CONVERT)
    away = errors.TransientError("chroma", "add", "refused")
    service.ledger.retry(claim, away, timedelta(seconds=1), max_attempts=1)
    return service.job_error(job_id)


def _backlog_full(service: Service) -> Outcome:
    replies = [service.api.post("/tasks/process", json={"data": "x"}) for _ in range(3)]
    assert [reply.status_code for reply in replies[:2]] == [200, 200]
    return replies[2]


def _budget_exhausted(service: Service) -> Outcome:
    service.upload()
    request: dict[str, Any] = {"json": {"question": "What is it?"}, "headers": {"Prefer": "respond-async"}}
    job_id = service.api.post("/v1/collections/papers/queries", **request).json()["job_id"]
    usage = {"prompt_tokens": 5, "completion_tokens": 5}
    service.ledger.record(service.claim(job_id, Step.ANSWER), events=[("usage", usage)])
    return service.api.post("/v1/collections/papers/queries", **request)


def _cancelled(service: Service) -> Outcome:
    job_id = service.upload().json()["job_id"]
    assert service.api.delete(f"/v1/jobs/{job_id}").status_code == 202
    return service.job_error(job_id)


def _conflict(service: Service) -> Outcome:
    document_id = service.upload().json()["document_id"]
    deletion = service.api.delete(f"/v1/documents/{document_id}").json()["job_id"]
    return service.api.delete(f"/v1/jobs/{deletion}")


def _dependency_unavailable(service: Service) -> Outcome:
    service.valkey.kill()
    return service.api.get("/v1/collections")


def _embedding_space_mismatch(service: Service) -> Outcome:
    service.upload()
    service.redis.hset(collection_key("default", "papers"), "space", "local/another-model")
    return service.upload("y")


def _forbidden(service: Service) -> Outcome:
    return service.upload(headers=service.key("readers", frozenset({Scope.READ})))


def _generation_not_reached(service: Service) -> Outcome:
    generation = service.upload().json()["generation"]
    # No worker will ever index it; nobody needs to wait half a minute to learn that.
    service.app.state.context.questions._wait_seconds = 0
    return service.api.post(
        "/v1/collections/papers/queries", json={"question": "What is it?", "min_generation": generation}
    )


def _idempotency_key_reused(service: Service) -> Outcome:
    headers = {"Idempotency-Key": "one"}
    assert service.upload(headers=headers).status_code == 202
    return service.upload("y", headers=headers)


def _overloaded(service: Service) -> Outcome:
    replies = []
    for tenant in ("one", "one", "two", "two"):
        headers = service.key(tenant, frozenset({Scope.INGEST}))
        replies.append(service.api.post("/tasks/process", json={"data": "x"}, headers=headers))
    assert [reply.status_code for reply in replies[:3]] == [200, 200, 200]
    return replies[-1]


def _rate_limited(service: Service) -> Outcome:
    headers = service.key("busy", frozenset({Scope.READ}), general_per_minute=1)
    assert service.api.get("/v1/collections", headers=headers).status_code == 200
    return service.api.get("/v1/collections", headers=headers)


def _superseded(service: Service) -> Outcome:
    job_id = service.upload().json()["job_id"]
    assert service.upload("y").status_code == 202
    return service.job_error(job_id)


def _too_many_streams(service: Service) -> Outcome:
    job_id = service.upload().json()["job_id"]
    with service.api.app.state.context.streams.opening("default"):  # type: ignore[attr-defined]
        pass
    return service.api.get(f"/v1/jobs/{job_id}/events")


def _post(path: str, **request: Any) -> Callable[[Service], Outcome]:  # noqa: ANN401 - of `post`
    return lambda service: service.api.post(path, **request)


TABLE: Mapping[str, Callable[[Service], Outcome]] = {
    "attempts_exhausted": _attempts_exhausted,
    "backlog_full": _backlog_full,
    "budget_exhausted": _budget_exhausted,
    "cancelled": _cancelled,
    "conflict": _conflict,
    "dependency_protocol": _ended_by(errors.ProtocolError),
    "dependency_rejected": _ended_by(errors.RejectedError),
    "dependency_unavailable": _dependency_unavailable,
    "division_by_zero": _post("/tasks/calculate/divide", json={"dividend": 1, "divisor": 0}),
    "embedding_space_mismatch": _embedding_space_mismatch,
    "empty_upload": _post(DOCUMENTS, files={"file": ("paper.pdf", b"")}),
    "encrypted": _ended_by(errors.Encrypted),
    "forbidden": _forbidden,
    "generation_not_reached": _generation_not_reached,
    "idempotency_key_reused": _idempotency_key_reused,
    "internal_error": lambda service: service.api.get("/defect"),
    "invalid_request": _post("/tasks/process", json={"data": 1}),
    "malformed_pdf": _ended_by(errors.MalformedPdf),
    "method_not_allowed": _post("/tasks/info"),
    "no_text": _ended_by(errors.NoText),
    "not_found": lambda service: service.api.get("/v1/jobs/job_1"),
    "overloaded": _overloaded,
    "parser_crashed": _ended_by(errors.ParserCrashed),
    "parser_timeout": _ended_by(errors.ParserTimeout),
    "quarantined": _ended_by(errors.Quarantined),
    "rate_limited": _rate_limited,
    "superseded": _superseded,
    "too_large": _post("/tasks/process", content=b"x" * (2**20 + 1)),
    "too_many_pages": _ended_by(errors.TooManyPages),
    "too_many_streams": _too_many_streams,
    "unauthorized": lambda service: service.api.get("/v1/collections", headers={"X-API-Key": "wrong"}),
    "unsupported_media_type": _post("/tasks/process", content=b"x", headers={"Content-Type": "text/plain"}),
}
ELSEWHERE = {"request_timeout": "tests/unit/api/test_middleware.py"}
"""Takes a body that stops coming."""


def _leaves(kind: type[RagError] = RagError) -> Iterator[type[RagError]]:
    below = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    if not below:
        yield kind
    for child in below:
        yield from _leaves(child)


def test_every_code_has_a_row_a_page_and_a_section() -> None:
    codes = {kind.code for kind in _leaves()}
    assert len(codes) >= 30
    assert codes == TABLE.keys() | ELSEWHERE.keys()
    assert codes == {kind.code for kind in PAGES} == set(SECTIONS)
    for code, place in ELSEWHERE.items():
        assert f'"{code}"' in Path(place).read_text(encoding="utf-8")


@pytest.mark.parametrize("code", sorted(TABLE))
def test_a_code_is_what_it_says_and_leads_to_its_page(service: Service, code: str) -> None:
    kind = error_class(code)

    outcome = TABLE[code](service)

    if isinstance(outcome, httpx2.Response):
        problem = outcome.json()
        assert (outcome.status_code, outcome.headers["content-type"]) == (kind.status, "application/problem+json")
        assert (problem["type"], problem["status"]) == (f"/errors/{code}", kind.status)
        assert problem["request_id"] == outcome.headers["x-request-id"]
        assert ("retry-after" in outcome.headers) == kind.retryable
    else:
        problem = dict(outcome)
    assert (problem["code"], problem["title"], problem["retryable"]) == (code, kind.title, kind.retryable)
    assert problem["detail"] or kind is InternalError
    page = service.api.get(f"/errors/{code}")
    assert page.status_code == 200
    assert page.text.startswith(f"## {code}\n\n{kind.title}. HTTP status {kind.status}.")
