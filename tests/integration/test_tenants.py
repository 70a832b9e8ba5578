"""Two tenants on one service: whatever one asks for by an id or a name of the other's is as if it did not exist."""

import json
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import chromadb
import httpx2
import pytest
from chromadb.config import Settings

from ragline.common.identifiers import embedding_space, new_id, physical_collection
from tests.support import pdfs
from tests.support.keys import client_of, made_key
from tests.support.stack import Stack, running_stack
from tests.support.waiting import wait_until

STATIC = "static-key-of-the-tenants"
QUESTION = "Who keeps the key of the observatory?"
OURS, THEIRS = "Marlow keeps the key of the observatory.", "Tamsin keeps the key of the observatory."

SPACE = embedding_space("local", "all-MiniLM-L6-v2")

_IDS_OF_A_REQUEST = {"date", "traceparent", "x-request-id"}


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A request about a thing; `{}` in the path stands for its id or name, as does `body` of it."""

    thing: str
    body: Callable[[str], dict[str, Any]] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def by(self, client: httpx2.Client, operation: str, name: str) -> httpx2.Response:
        method, _, template = operation.partition(" ")
        before, _, rest = template.partition("{")
        path = before + name + rest.partition("}")[2] if rest else template
        body = self.body(name) if self.body else {}
        return client.request(method, path.partition("#")[0], headers=dict(self.headers), **body)


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """One of the two, with what it has."""

    client: httpx2.Client
    collection: str = ""
    document: str = ""
    job: str = ""

    @property
    def task(self) -> str:
        return f"{self.job}.convert"

    def everything(self) -> list[Any]:
        """What it sees of its own."""
        addresses = ("/v1/collections", f"/v1/collections/{self.collection}/documents", f"/v1/jobs/{self.job}")
        return [self.client.get(address).json() for address in addresses]


def asking(name: str) -> dict[str, Any]:
    return {"json": {"question": QUESTION, "persist_directory": f"vectorstores/{name}"}}


def chatting(name: str) -> dict[str, Any]:
    return {"json": {"model": name, "messages": [{"role": "user", "content": QUESTION}]}}


def streaming(name: str) -> dict[str, Any]:
    return {"json": {**chatting(name)["json"], "stream": True}}


STREAM = {"Accept": "text/event-stream"}

# What stands behind `#` tells apart several ways to send one operation.
FOREIGN = {
    "GET /tasks/status/{task_id}": Sent(thing="job"),
    "GET /tasks/status/{task_id}#step": Sent(thing="task"),
    "POST /rag/query": Sent(thing="collection", body=asking),
    "POST /rag/query/sync": Sent(thing="collection", body=asking),
    "GET /v1/collections/{name}": Sent(thing="collection"),
    "DELETE /v1/collections/{name}": Sent(thing="collection"),
    "POST /v1/collections/{name}/queries": Sent(thing="collection", body=lambda _: {"json": {"question": QUESTION}}),
    "POST /v1/collections/{name}/queries#stream": Sent(
        thing="collection", body=lambda _: {"json": {"question": QUESTION}}, headers=STREAM
    ),
    "POST /v1/collections/{name}/queries#generation": Sent(
        thing="collection", body=lambda _: {"json": {"question": QUESTION, "min_generation": 1}}
    ),
    "POST /v1/collections/{name}/verifications": Sent(thing="collection"),
    "GET /v1/collections/{name}/documents": Sent(thing="collection"),
    "GET /v1/documents/{document_id}": Sent(thing="document"),
    "DELETE /v1/documents/{document_id}": Sent(thing="document"),
    "GET /v1/jobs/{job_id}": Sent(thing="job"),
    "DELETE /v1/jobs/{job_id}": Sent(thing="job"),
    "GET /v1/jobs/{job_id}/events": Sent(thing="job"),
    "POST /v1/chat/completions": Sent(thing="collection", body=chatting),
    "POST /v1/chat/completions#stream": Sent(thing="collection", body=streaming),
    "POST /v1/embeddings": Sent(thing="collection", body=lambda name: {"json": {"model": name, "input": "x"}}),
    "GET /v1/models/{model}": Sent(thing="collection"),
}
"""Operations about something that has to be there: a foreign id is an unknown one."""

OWN = {
    "POST /v1/collections/{name}/documents": Sent(
        thing="collection", body=lambda _: {"files": {"file": ("theirs.pdf", pdfs.text_pdf([THEIRS]))}}
    ),
    "POST /v1/collections/{name}/documents/batch": Sent(
        thing="collection", body=lambda _: {"files": [("file", ("theirs.pdf", pdfs.text_pdf([THEIRS])))]}
    ),
}
"""Operations that make a collection of that name, of the caller's own."""

DEFAULTS = {"POST /rag/pipeline"}
"""Operations about what only the default tenant has: the upload folder."""

NAMELESS = {
    "GET /tasks/info",
    "POST /tasks/process",
    "POST /tasks/calculate/add",
    "POST /tasks/calculate/divide",
    "POST /tasks/workflow/chain",
    "POST /tasks/workflow/parallel",
    "GET /v1/collections",
    "GET /v1/models",
    "GET /healthz",
    "GET /readyz",
    "GET /errors/{code}",
}
"""Operations that name nothing a tenant could have."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {"API_KEYS": STATIC, "ENABLE_AUTH": "true"}
    with running_stack(tmp_path_factory.mktemp("tenants"), settings) as running:
        (running.folder / "uploads" / "ours.pdf").write_bytes(pdfs.text_pdf([OURS]))
        yield running


@pytest.fixture(scope="module")
def ours(stack: Stack) -> Iterator[Tenant]:
    """A tenant with a collection, a document and a finished job."""
    with client_of(stack, made_key(stack, tenant="acme", scope="admin")["key"]) as client:
        job = _ingested(client, "observatory", "ours.pdf", OURS, {"kind": "ours"})
        yield Tenant(client=client, collection="observatory", document=job["document_id"], job=job["id"])


@pytest.fixture
def stranger(stack: Stack) -> Iterator[Tenant]:
    """A tenant that has nothing, with a key that may do everything."""
    tenant = new_id("t").replace("_", "-")
    with client_of(stack, made_key(stack, tenant=tenant, scope="admin")["key"]) as client:
        yield Tenant(client=client)


def _ingested(
    client: httpx2.Client, collection: str, name: str, text: str, metadata: dict[str, str] | None = None
) -> dict[str, Any]:
    sent = client.post(
        f"/v1/collections/{collection}/documents",
        files={"metadata": (None, json.dumps(metadata or {})), "file": (name, pdfs.text_pdf([text]))},
    )
    assert sent.status_code == 202, sent.text
    return _finished(client, sent.json()["job_id"])


def _finished(client: httpx2.Client, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = {}

    def ended() -> bool:
        nonlocal job
        job = client.get(f"/v1/jobs/{job_id}", params={"wait": 1}).json()
        return job["status"] in {"succeeded", "failed", "cancelled"}

    wait_until(ended, timeout_seconds=60)
    assert job["status"] == "succeeded", job
    return job


def _unknown(thing: str) -> str:
    return {
        "collection": "planetarium",
        "document": new_id("doc"),
        "job": new_id("job"),
        "task": f"{new_id('job')}.convert",
    }[thing]


def _reply(reply: httpx2.Response) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Everything that a caller is told, but for what names the request."""
    headers = {name: value for name, value in reply.headers.items() if name not in _IDS_OF_A_REQUEST}
    own = {"request_id", "trace_id"}
    return reply.status_code, headers, {key: value for key, value in reply.json().items() if key not in own}


def _ask(client: httpx2.Client, question: str = QUESTION, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    reply = client.post("/v1/collections/observatory/queries", json={"question": question, **options})
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def test_every_operation_has_its_row(stack: Stack) -> None:
    paths = stack.client.get("/openapi.json").json()["paths"]
    operations = {f"{method.upper()} {path}" for path, item in paths.items() for method in item}

    assert {row.partition("#")[0] for row in FOREIGN} | set(OWN) | DEFAULTS | NAMELESS == operations
    assert [operation for operation in NAMELESS if "{" in operation] == ["GET /errors/{code}"]


@pytest.mark.parametrize("operation", sorted(FOREIGN))
def test_a_foreign_id_is_an_unknown_one(ours: Tenant, stranger: Tenant, operation: str) -> None:
    row = FOREIGN[operation]
    before = ours.everything()

    foreign = row.by(stranger.client, operation, getattr(ours, row.thing))
    unknown = row.by(stranger.client, operation, _unknown(row.thing))

    assert (foreign.status_code, foreign.json()["code"]) == (404, "not_found")
    assert _reply(foreign) == _reply(unknown)
    assert foreign.headers["content-type"] == "application/problem+json"
    assert ours.everything() == before


@pytest.mark.parametrize("operation", sorted(row for row in FOREIGN if not row.startswith("DELETE")))
def test_the_owner_is_not_told_that_it_does_not_exist(ours: Tenant, operation: str) -> None:
    """Otherwise the test before would prove nothing."""
    row = FOREIGN[operation]

    assert row.by(ours.client, operation, getattr(ours, row.thing)).status_code in {200, 202}


@pytest.mark.parametrize("operation", sorted(OWN))
def test_a_foreign_name_is_free(ours: Tenant, stranger: Tenant, operation: str) -> None:
    before = ours.everything()

    reply = OWN[operation].by(stranger.client, operation, ours.collection)

    body = reply.json()
    sent = body["results"][0]["submission"] if "results" in body else body
    assert sent["document_id"] != ours.document
    assert sent.get("generation", 1) == 1
    _finished(stranger.client, sent["job_id"])
    assert "Tamsin" in _ask(stranger.client)["answer"]
    assert ours.everything() == before
    assert "Marlow" in _ask(ours.client)["answer"]


@pytest.mark.parametrize("path", ["ours.pdf", "absent.pdf"])
def test_the_upload_folder_is_the_default_tenants(stack: Stack, stranger: Tenant, path: str) -> None:
    asked = {"pdf_path": path, "persist_directory": "vectorstores/observatory"}
    refused = stranger.client.post("/rag/pipeline", json=asked)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert stranger.client.get("/v1/collections").json()["collections"] == []
    with client_of(stack, STATIC) as default:
        expected = 200 if path == "ours.pdf" else 404
        assert default.post("/rag/pipeline", json=asked).status_code == expected


def test_lists_hold_nothing_foreign(ours: Tenant, stranger: Tenant) -> None:
    _ingested(ours.client, "another", "a.pdf", OURS)
    page = ours.client.get("/v1/collections", params={"limit": 1}).json()["next"]
    assert page

    assert stranger.client.get("/v1/collections").json() == {"collections": [], "next": None}
    assert stranger.client.get(page).json() == {"collections": [], "next": None}
    assert stranger.client.get("/v1/models").json() == {"object": "list", "data": []}


def test_keys_of_repetition_belong_to_a_tenant(ours: Tenant, stranger: Tenant) -> None:
    def send(tenant: Tenant, text: str) -> dict[str, Any]:
        files = {"file": ("same.pdf", pdfs.text_pdf([text]))}
        reply = tenant.client.post("/v1/collections/same/documents", files=files, headers={"Idempotency-Key": "one"})
        assert reply.status_code == 202, reply.text
        submission: dict[str, Any] = reply.json()
        return submission

    first, second = send(ours, OURS), send(stranger, THEIRS)

    assert first["job_id"] != second["job_id"]
    assert first["document_id"] != second["document_id"]
    assert send(ours, OURS) == first


def test_kept_answers_and_filters_belong_to_a_tenant(ours: Tenant, stranger: Tenant) -> None:
    question = f"{QUESTION} {new_id('q')}"
    _ask(ours.client, question)
    assert _ask(ours.client, question)["cached"]
    _ingested(stranger.client, "observatory", "ours.pdf", THEIRS, {"kind": "theirs"})

    answer = _ask(stranger.client, question)

    assert (answer["cached"], "Tamsin" in answer["answer"]) == (False, True)
    assert not _ask(stranger.client, filter={"kind": "ours"})["answered"]
    assert _ask(stranger.client, filter={"kind": {"exists": True}}, top_k=50)["citations"][0]["quote"] == THEIRS
    cited = {citation["document_id"] for citation in _ask(stranger.client, top_k=50)["citations"]}
    assert ours.document not in cited


def test_the_same_names_are_apart_in_the_stores(stack: Stack, ours: Tenant, stranger: Tenant) -> None:
    theirs = _ingested(stranger.client, "observatory", "ours.pdf", THEIRS)
    texts = _stored_texts(stack)
    assert texts["acme/observatory"] == [OURS]
    assert [scope for scope, found in texts.items() if found == [THEIRS] and scope.endswith("/observatory")]

    stranger.client.delete("/v1/collections/observatory")
    wait_until(lambda: not _files_of(stack.folder, theirs["document_id"]), timeout_seconds=30)

    assert _files_of(stack.folder, ours.document)
    assert _stored_texts(stack)["acme/observatory"] == [OURS]
    assert "Marlow" in _ask(ours.client)["answer"]
    assert stranger.client.get("/v1/collections/observatory").status_code == 404


@pytest.mark.parametrize(
    "operation",
    [
        "GET /v1/documents/{document_id}",
        "GET /v1/jobs/{job_id}",
        "GET /v1/collections/{name}",
        "DELETE /v1/jobs/{job_id}",
        "DELETE /v1/documents/{document_id}",
        "POST /v1/collections/{name}/queries",
    ],
)
def test_time_tells_nothing(ours: Tenant, stranger: Tenant, operation: str) -> None:
    row = FOREIGN[operation]
    seconds: dict[bool, list[float]] = {True: [], False: []}
    order = [True, False] * 150
    random.Random(5).shuffle(order)  # noqa: S311 - not a secret

    for foreign in order:
        name = getattr(ours, row.thing) if foreign else _unknown(row.thing)
        started = time.perf_counter()
        row.by(stranger.client, operation, name)
        seconds[foreign].append(time.perf_counter() - started)

    medians = [statistics.median(taken) for taken in seconds.values()]
    print(f"{operation}: foreign {medians[0] * 1000:.2f} ms, unknown {medians[1] * 1000:.2f} ms")  # noqa: T201 - figures
    assert max(medians) / min(medians) < 1.5


def _files_of(folder: Path, document_id: str) -> list[Path]:
    return [path for path in (folder / "objects").rglob("*") if path.is_file() and document_id in str(path)]


def _stored_texts(stack: Stack) -> dict[str, list[str]]:
    """All chunks in Chroma by the scope they are in."""
    address = urlsplit(stack.chroma_url)
    settings = Settings(anonymized_telemetry=False)
    with ExitStack() as exits:
        client = chromadb.HttpClient(host=address.hostname or "", port=address.port or 80, settings=settings)
        # Neither of the two closes its connections itself.
        exits.callback(client._server._session.close)  # type: ignore[attr-defined]
        exits.callback(client._admin_client._server._session.close)  # type: ignore[attr-defined]
        found = client.get_collection(physical_collection(SPACE)).get(include=["documents", "metadatas"])
    texts: dict[str, list[str]] = {}
    for metadata, text in zip(found["metadatas"] or [], found["documents"] or [], strict=True):
        texts.setdefault(str(metadata["scope"]), []).append(text)
    return texts
