"""Canaries: secrets and words that are planted everywhere, and looked for in everything that is kept or told."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import redis

from ragline.common.queues import Queue
from ragline.stores.ledger.keys import job_key
from tests.support import pdfs
from tests.support.collector import Collector, collector
from tests.support.keys import made_key
from tests.support.openai_stub import OpenAIStub, Reply, openai_stub
from tests.support.servers import Process, free_port, python
from tests.support.stack import Stack, running_stack
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(240)
"""All that happens does so in front of the first test."""

STATIC, SPARE = "static-canary-61b7e0", "spare-canary-9d2f44"
OPENAI = "sk-canary-5f0c2b9e7d"
PASSWORD = "redis-canary-c81e72"
COLLECTOR = "collector-canary-0b4d93"

# One word for each kind of content, which nothing else holds.
PASSAGE, BROKEN, METADATA, NAME = "quokkapassage", "quokkabroken", "quokkametadata", "quokkaname"
QUESTION, HISTORY, ANSWER, FILTER = "quokkaquestion", "quokkahistory", "quokkaanswer", "quokkafilter"
TEXT, DATA, REPETITION = "quokkatext", "quokkadata", "quokkarepetition"
CONTENT = (PASSAGE, BROKEN, METADATA, QUESTION, HISTORY, ANSWER, FILTER, TEXT, DATA, REPETITION)

LEAKY = json.dumps(
    {"error": {"message": f"Incorrect API key provided: {OPENAI} for {PASSAGE}", "type": OPENAI, "param": OPENAI}}
).encode()
"""What OpenAI answers to a wrong key: it quotes the key."""

JOB, EVENTS, KEPT = r"ragline:job:job_\w+", r"ragline:job:job_\w+:events", r"ragline:answer:acme:\w+"
DOCUMENT, FILTERS = r"ragline:doc:doc_\w+", r"ragline:collection:acme:\w+:metadata"

_FLOWERS_WORKERS = "/workers?refresh=1&json=1"
_FLOWERS_TASKS = "/tasks/datatable?draw=1&start=0&length=100&order[0][column]=0&columns[0][data]=name&search[value]="

BELONGS: Mapping[str, set[tuple[str, str]]] = {
    PASSAGE: {(JOB, "result"), (EVENTS, "data"), (KEPT, "result"), (KEPT, "events")},
    ANSWER: {(JOB, "result"), (EVENTS, "data"), (KEPT, "result"), (KEPT, "events")},
    QUESTION: {(JOB, "params")},
    HISTORY: {(JOB, "params")},
    FILTER: {(JOB, "params")},
    TEXT: {(JOB, "params")},
    DATA: {(JOB, "params"), (JOB, "result")},
    METADATA: {(DOCUMENT, "metadata"), (FILTERS, ""), (JOB, "metadata")},
    BROKEN: set(),
    REPETITION: set(),
}
"""Where in Redis a word may stand: pattern of the key, and field of a hash or of a stream's entries (empty: any)."""


@dataclass(kw_only=True)
class Scene:
    """The service after everything has happened to it."""

    stack: Stack
    client: httpx2.Client
    key: str
    stub: OpenAIStub
    traces: Collector
    replies: list[httpx2.Response]
    flower: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.key, STATIC, SPARE, OPENAI, PASSWORD, COLLECTOR)

    def redis(self) -> "redis.Redis":
        return redis.Redis.from_url(self.stack.redis_url, password=PASSWORD, decode_responses=True)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    settings = {
        "API_KEYS": f"{STATIC},{SPARE}",
        "ENABLE_AUTH": "true",
        "LLM_MODEL": "stub-chat",
        "OPENAI_API_KEY": OPENAI,
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-token={COLLECTOR}",
        "REDIS_PASSWORD": PASSWORD,
    }
    with ExitStack() as exits:
        stub = exits.enter_context(openai_stub())
        traces = exits.enter_context(collector())
        settings |= {"OPENAI_BASE_URL": stub.url, "OTEL_EXPORTER_OTLP_ENDPOINT": traces.url}
        stack = exits.enter_context(running_stack(tmp_path_factory.mktemp("canary"), settings))
        key = made_key(stack, tenant="acme")["key"]
        replies: list[httpx2.Response] = []
        headers = {"Authorization": f"Bearer {key}"}
        client = exits.enter_context(
            httpx2.Client(
                base_url=stack.client.base_url,
                headers=headers,
                timeout=70,
                event_hooks={"response": [httpx2.Response.read, replies.append]},
            )
        )
        scene = Scene(stack=stack, client=client, key=key, stub=stub, traces=traces, replies=replies)
        for happens in (_work, _refusals, _failures, _defects, _waiting, _restart):
            happens(scene)
        _look_at_flower(scene)
        yield scene


def _finished(scene: Scene, reply: httpx2.Response) -> dict[str, Any]:
    assert reply.status_code in {200, 202}, reply.text
    job: dict[str, Any] = {}

    def ended() -> bool:
        nonlocal job
        job = scene.client.get(f"/v1/jobs/{reply.json()['job_id']}", params={"wait": 2}).json()
        return job.get("status") in {"succeeded", "failed", "cancelled"}

    wait_until(ended, timeout_seconds=60)
    return job


def _upload(scene: Scene, data: bytes, name: str = f"{NAME}.pdf") -> httpx2.Response:
    path = "/v1/collections/zoo/documents"
    metadata = json.dumps({"kind": METADATA})
    return scene.client.post(path, files={"metadata": (None, metadata), "file": (name, data)})


def _ask(scene: Scene, question: str, **headers: str) -> httpx2.Response:
    body = {"question": question, "filter": {"kind": {"ne": FILTER}}}
    return scene.client.post("/v1/collections/zoo/queries", json=body, headers=headers)


def _chat(scene: Scene, **options: object) -> httpx2.Response:
    turns = [
        {"role": "user", "content": f"Tell me of {HISTORY}."},
        {"role": "assistant", "content": HISTORY},
        {"role": "user", "content": f"And of {QUESTION}?"},
    ]
    return scene.client.post("/v1/chat/completions", json={"model": "zoo", "messages": turns, **options})


def _work(scene: Scene) -> None:
    """Everything goes well."""
    assert _finished(scene, _upload(scene, pdfs.text_pdf([f"The {PASSAGE} is fed at noon."])))["status"] == "succeeded"
    scene.stub.answer(*[Reply(pieces=(f"At noon, {ANSWER}", " [1].")) for _ in range(6)])
    told = _ask(scene, f"When is {QUESTION} fed?").json()
    assert (ANSWER in told["answer"], PASSAGE in told["citations"][0]["quote"]) == (True, True), told
    assert _ask(scene, f"When is {QUESTION} fed?").json()["cached"]
    assert ANSWER in _ask(scene, f"{QUESTION}, streamed?", Accept="text/event-stream").text
    assert _chat(scene).status_code == 200
    assert "[DONE]" in _chat(scene, stream=True).text
    assert scene.client.post("/v1/embeddings", json={"model": "zoo", "input": TEXT}).status_code == 200
    headers = {"Idempotency-Key": REPETITION}
    assert scene.client.post("/tasks/process", json={"data": DATA}, headers=headers).status_code == 200
    scene.stub.reset()


def _refusals(scene: Scene) -> None:
    """Requests that are wrong in what must not be repeated."""
    get, post = scene.client.get, scene.client.post
    assert get("/v1/collections", headers={"Authorization": f"Bearer {scene.key}x"}).status_code == 401
    assert get("/v1/nowhere", params={"api_key": scene.key, "password": PASSWORD}).status_code == 404
    wrong: list[dict[str, Any]] = [
        {"question": QUESTION * 1000},
        {"question": QUESTION, "top_k": TEXT},
        {"question": QUESTION, "model": ANSWER},
        {"question": QUESTION, "filter": {"kind": {METADATA: FILTER}}},
        {"question": QUESTION, "colour": HISTORY},
    ]
    assert {post("/v1/collections/zoo/queries", json=body).status_code for body in wrong} == {422}
    broken: dict[str, Any] = {"content": f'{{"question": "{QUESTION}', "headers": {"Content-Type": "application/json"}}
    assert post("/v1/collections/zoo/queries", **broken).status_code == 422
    assert post("/v1/collections/zoo/documents", files={"file": ("a.pdf", BROKEN.encode())}).status_code == 415
    files: Any = {"metadata": (None, f'{{"kind": "{METADATA}"'), "file": ("a.pdf", b"%PDF-1.7")}
    assert post("/v1/collections/zoo/documents", files=files).status_code == 422
    assert post("/tasks/process", json={"data": "x"}, headers={"Idempotency-Key": REPETITION}).status_code == 422
    assert post("/rag/pipeline", json={"pdf_path": f"/{PASSWORD}", "persist_directory": "zoo"}).status_code >= 400


def _failures(scene: Scene) -> None:
    """A document nobody can read, and a model that quotes what it should not."""
    broken = b"%PDF-1.7\n" + f"({BROKEN}) Tj {BROKEN} 0 obj << /Title ({BROKEN}) >>".encode()
    assert _finished(scene, _upload(scene, broken, "broken.pdf"))["error"]["code"] == "malformed_pdf"
    for status in (401, 400, 403):
        scene.stub.answer(Reply(status=status, body=LEAKY))
        assert _ask(scene, f"{QUESTION} {status}?").json()["code"] == "dependency_rejected"
    scene.stub.answer(*[Reply(status=500, body=LEAKY) for _ in range(3)])
    assert _ask(scene, f"{QUESTION} 500?").status_code == 503
    scene.stub.answer(Reply(body=b"{" + LEAKY))
    assert _ask(scene, f"{QUESTION} garbage?").status_code >= 500
    scene.stub.reset()


def _defects(scene: Scene) -> None:
    """Records that cannot be, so that tracebacks are logged with the contents at hand."""
    document = _finished(scene, _upload(scene, pdfs.text_pdf([PASSAGE]), "defect.pdf"))["document_id"]
    rag = scene.stack.workers[Queue.RAG]
    with scene.redis() as client:
        client.hset(f"ragline:doc:{document}", "created_at", "no number")
        assert scene.client.get(f"/v1/documents/{document}").json()["code"] == "internal_error"
        client.hset(f"ragline:doc:{document}", "created_at", "1")
        rag.freeze()
        accepted = _ask(scene, f"{QUESTION} defect?", Prefer="respond-async")
        client.hset(job_key(accepted.json()["job_id"]), "params", json.dumps({"question": [QUESTION], "top_k": 3}))
        rag.thaw()
    assert _finished(scene, accepted)["error"]["code"] == "attempts_exhausted"


def _waiting(scene: Scene) -> None:
    """Messages as they lie on their queues. A frozen worker has asked for the first one, the second stays."""
    for worker in scene.stack.workers.values():
        worker.freeze()
    accepted = []
    for number in range(2):
        scene.client.post("/tasks/process", json={"data": DATA})
        accepted.append(_ask(scene, f"{QUESTION} waits {number}?", Prefer="respond-async"))
        accepted.append(_upload(scene, pdfs.text_pdf([f"{PASSAGE} waits {number}."]), f"waiting {number}.pdf"))
    with scene.redis() as client:
        scene.waiting = [message for queue in Queue for message in client.lrange(queue, 0, -1)]
        scene.waiting += [message for queue in Queue for message in client.hvals(f"unacked:{queue}")]
    for worker in scene.stack.workers.values():
        worker.thaw()
    for reply in accepted:
        assert _finished(scene, reply)["status"] == "succeeded"


def _restart(scene: Scene) -> None:
    """Redis goes away and comes back."""
    scene.stack.valkey.kill()
    assert _ask(scene, f"{QUESTION} away?").status_code == 503
    assert _upload(scene, pdfs.text_pdf([PASSAGE]), "away.pdf").status_code == 503
    scene.stack.valkey.restart()
    wait_until(lambda: scene.client.get("/v1/collections").is_success, timeout_seconds=20)
    wait_until(lambda: all(scene.stack.workers_alive().values()), timeout_seconds=60)
    wait_until(lambda: _ask(scene, f"{QUESTION} back?").is_success, timeout_seconds=60)


def _look_at_flower(scene: Scene) -> None:
    """Flower as `ragline up` starts it, while a task runs."""
    port = free_port()
    command = python("-m", "celery", "flower", "--address=127.0.0.1", f"--port={port}", "--read-only")
    env = {**scene.stack.environment, "CELERY_CONFIG_MODULE": "ragline.cli.supervisor.flower"}
    with ExitStack() as exits:
        flower = Process(command, log=scene.stack.folder / "flower.log", env=env)
        exits.callback(flower.stop)
        pages = exits.enter_context(httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=20))
        flower.wait_ready(lambda: _answers(pages))
        wait_until(lambda: len(pages.get(_FLOWERS_WORKERS).json()["data"]) == len(Queue), timeout_seconds=30)
        _ask(scene, f"{QUESTION} under Flower?", **{"Cache-Control": "no-cache"})
        _finished(scene, _upload(scene, pdfs.text_pdf([f"{PASSAGE} under Flower."]), "flower.pdf"))
        addresses = ["/", _FLOWERS_WORKERS, "/tasks", _FLOWERS_TASKS, "/broker", "/metrics"]
        workers, tasks = pages.get(_FLOWERS_WORKERS).json()["data"], pages.get(_FLOWERS_TASKS).json()["data"]
        addresses += [f"/worker/{worker['hostname']}" for worker in workers]
        addresses += [f"/task/{task['uuid']}" for task in tasks]
        scene.flower = {address: pages.get(address).text for address in addresses}


def _answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/healthcheck").is_success
    except httpx2.HTTPError:
        return False


def _stored(scene: Scene) -> Iterator[tuple[str, str, str]]:
    """Key, field and value of all that is in Redis."""
    with scene.redis() as client:
        server: Any = client
        hashes: dict[str, Callable[[str], list[tuple[str, str]]]] = {
            "hash": lambda name: list(server.hgetall(name).items()),
            "list": lambda name: [("", value) for value in server.lrange(name, 0, -1)],
            "set": lambda name: [("", value) for value in server.smembers(name)],
            "stream": lambda name: [pair for _, entry in server.xrange(name) for pair in entry.items()],
            "string": lambda name: [("", server.get(name))],
            "zset": lambda name: [("", value) for value in server.zrange(name, 0, -1)],
        }
        for name in server.scan_iter():
            yield from ((name, member, value) for member, value in hashes[server.type(name)](name))


def _logs(scene: Scene) -> dict[str, str]:
    return {path.name: path.read_text(errors="replace") for path in scene.stack.folder.rglob("*.log")}


def _found(words: tuple[str, ...], texts: Mapping[str, str]) -> list[tuple[str, str, str]]:
    return [
        (word, place, text[max(0, text.find(word) - 100) :][:200])
        for place, text in texts.items()
        for word in words
        if word in text
    ]


def test_everything_has_happened(scene: Scene) -> None:
    """Otherwise nothing would be found wherever one looks."""
    logs = _logs(scene)
    assert {"api.log", "chroma.log", "flower.log", "valkey.log", *(f"{queue}.log" for queue in Queue)} == set(logs)
    assert "request failed by a defect" in logs["api.log"]
    assert '"exc_type": "' in logs["rag.log"]
    assert '"level":"debug"' in logs["rag.log"].replace('": "', '":"')
    assert {401, 404, 415, 422, 500, 503} <= {reply.status_code for reply in scene.replies}
    assert scene.stub.keys[-1] == f"Bearer {OPENAI}"
    assert len(scene.waiting) >= 3
    assert len([page for page in scene.flower if page.startswith("/worker/")]) == len(Queue)
    assert len([page for page in scene.flower if page.startswith("/task/")]) >= 1


def test_no_log_holds_a_secret_or_what_people_wrote(scene: Scene) -> None:
    assert _found((*scene.secrets, *CONTENT), _logs(scene)) == []


def test_no_file_holds_a_secret(scene: Scene) -> None:
    """Append-only file, vectors, originals, logs: as bytes."""
    files = [path for path in scene.stack.folder.rglob("*") if path.is_file()]
    texts = {str(path.relative_to(scene.stack.folder)): path.read_bytes().decode("latin-1") for path in files}

    assert len(files) > 20
    assert any(PASSAGE in text for place, text in texts.items() if place.startswith("chroma"))
    assert _found(scene.secrets, texts) == []


def test_redis_holds_what_people_wrote_only_where_it_belongs(scene: Scene) -> None:
    stored = list(_stored(scene))
    assert len(stored) > 300
    seen = {
        (word, key, member)
        for key, member, value in stored
        for word in (*scene.secrets, *CONTENT)
        if word in value or word in key or word in member
    }

    places = {place for word in CONTENT for place in BELONGS[word]}
    strays = [
        (word, key, member)
        for word, key, member in seen
        if not any(re.fullmatch(at, key) and name in {"", member} for at, name in BELONGS.get(word, set()))
    ]
    assert strays == []
    # No row is there for nothing.
    assert {
        (at, name) for at, name in places for _, key, member in seen if re.fullmatch(at, key) and name in {"", member}
    } == places


def test_messages_hold_ids_alone(scene: Scene) -> None:
    texts = dict(enumerate(scene.waiting))
    assert _found((*scene.secrets, *CONTENT, NAME), {str(number): text for number, text in texts.items()}) == []


def test_flower_shows_neither(scene: Scene) -> None:
    assert _found((*scene.secrets, *CONTENT, NAME), scene.flower) == []


def test_no_span_holds_a_secret_or_what_people_wrote(scene: Scene) -> None:
    """As bytes: whatever is in them, decoded here or not."""
    names = {span.name for span in scene.traces.spans()}
    texts = {str(number): body.decode("latin-1") for number, body in enumerate(scene.traces.bodies)}

    assert {"convert", "answer", "embed", "process", "chat stub-chat", "chroma query", "queue wait"} <= names
    assert [span for span in scene.traces.spans() if span.failed]
    assert scene.traces.headers["x-token"] == COLLECTOR
    assert _found((*scene.secrets, *CONTENT, NAME), texts) == []


def test_no_answer_holds_a_secret(scene: Scene) -> None:
    scene.client.get("/openapi.json")
    told = {f"{number} {reply.url.path}": f"{reply.headers} {reply.text}" for number, reply in enumerate(scene.replies)}

    assert len(told) > 30
    assert _found(scene.secrets, told) == []


def test_no_refusal_repeats_what_was_sent(scene: Scene) -> None:
    problems = {
        f"{number} {reply.status_code}": reply.text
        for number, reply in enumerate(scene.replies)
        if reply.status_code >= 400
    }
    jobs = [reply.json() for reply in scene.replies if "/v1/jobs/" in str(reply.url) and reply.status_code == 200]
    errors = {job["id"]: json.dumps(job["error"]) for job in jobs if job["error"]}

    assert len(problems) > 15
    assert len(errors) >= 2
    assert _found(CONTENT, {**problems, **errors}) == []


def test_the_page_about_the_api_holds_neither(scene: Scene) -> None:
    pages = {address: scene.client.get(address).text for address in ("/openapi.json", "/docs", "/redoc", "/readyz")}
    assert _found((*scene.secrets, *CONTENT), pages) == []
