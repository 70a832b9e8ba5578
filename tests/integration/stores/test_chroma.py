"""The Chroma store passes the contract on a real server, and bad servers make typed errors in time."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import httpx
import httpx2
import pytest
from typing_extensions import override

from ragline.common.constants import CHROMA_WRITE_BATCH_CHUNKS
from ragline.common.errors import DependencyError, ProtocolError, RejectedError, TransientError
from ragline.stores.chroma import ChromaVectorStore
from ragline.stores.protocols import VectorStore
from tests.support.servers import chroma_server, free_port
from tests.support.vector_store_contract import HANDBOOK, VectorStoreContract, direction, make_entries, make_entry

_DATABASE = "/api/v2/tenants/default_tenant/databases/default_database"

ErrorT = TypeVar("ErrorT", bound=DependencyError)

OPERATIONS: dict[str, Callable[[VectorStore, str], object]] = {
    "add": lambda store, physical: store.add(physical, [make_entry("a")]),
    "delete": lambda store, physical: store.delete(physical, ["a"]),
    "existing": lambda store, physical: store.existing(physical, ["a"]),
    "ids_of_document": lambda store, physical: store.ids_of_document(physical, "doc_1"),
    "ids_of_scope": lambda store, physical: store.ids_of_scope(physical, HANDBOOK),
    "query": lambda store, physical: store.query(physical, direction(0), scope=HANDBOOK, limit=3),
}

every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())


@pytest.fixture
def physical(rest: httpx2.Client) -> Iterator[str]:
    name = f"ragline-test-{uuid4().hex}"
    yield name
    for collection in rest.get("/collections", params={"limit": 1000}).json():
        if collection["name"].startswith(name):
            rest.delete(f"/collections/{collection['name']}")


@pytest.fixture
def rest(chroma_url: str) -> Iterator[httpx2.Client]:
    """The server itself, past our store and Chroma's client."""
    with httpx2.Client(base_url=chroma_url + _DATABASE) as client:
        yield client


@pytest.fixture
def store(chroma_url: str) -> Iterator[ChromaVectorStore]:
    with closing(ChromaVectorStore(chroma_url)) as store:
        yield store


@pytest.fixture
def other_store(chroma_url: str) -> Iterator[ChromaVectorStore]:
    with closing(ChromaVectorStore(chroma_url)) as store:
        yield store


class TestChromaVectorStore(VectorStoreContract):
    pass


@contextmanager
def _answering(answer: Callable[[str, str], tuple[int, str, str] | None]) -> Iterator[str]:
    """A server that answers method and path with status, type and text, or hangs up at None; its URL."""

    class Handler(BaseHTTPRequestHandler):
        @override
        def parse_request(self) -> bool:
            """One answer for every method, so it is given here instead of in `do_GET` and its like."""
            if not super().parse_request():
                return False
            self._handle()
            return False

        def _handle(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            reply = answer(self.command, self.path)
            if reply is None:
                self.close_connection = True
                return
            status, content_type, text = reply
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(text.encode())))
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(text.encode())

        @override
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _collection(name: str) -> str:
    ids = {"id": str(uuid4()), "name": name, "tenant": "default_tenant", "database": "default_database"}
    return json.dumps({**ids, "configuration_json": {}, "metadata": None, "dimension": 2})


def _written_ids(store: ChromaVectorStore) -> list[tuple[str, int]]:
    """Grows with every request that names ids: what is asked, and how many."""
    seen: list[tuple[str, int]] = []

    def note(request: httpx.Request) -> None:
        body = json.loads(request.content or b"{}")
        if body.get("ids") is not None:
            seen.append((request.url.path.rpartition("/")[2], len(body["ids"])))

    store._session.event_hooks = {**store._session.event_hooks, "request": [note]}
    return seen


def test_writes_go_in_small_batches(store: ChromaVectorStore, physical: str) -> None:
    entries = make_entries(2 * CHROMA_WRITE_BATCH_CHUNKS + 5)
    written = _written_ids(store)
    store.add(physical, entries)
    store.delete(physical, [entry.id for entry in entries])
    batches = [CHROMA_WRITE_BATCH_CHUNKS, CHROMA_WRITE_BATCH_CHUNKS, 5]
    assert written == [("add", size) for size in batches] + [("delete", size) for size in batches]


def test_lookups_stay_below_the_limit_of_the_server(store: ChromaVectorStore, physical: str) -> None:
    store.add(physical, [make_entry("id-5999")])
    asked = _written_ids(store)
    assert store.existing(physical, [f"id-{number}" for number in range(6000)]) == {"id-5999"}
    assert sum(size for _, size in asked) == 6000
    assert max(size for _, size in asked) <= 1000


def test_our_collection_names_no_embedding_function(
    store: ChromaVectorStore, physical: str, rest: httpx2.Client
) -> None:
    store.add(physical, [make_entry("a")])
    configuration = rest.get(f"/collections/{physical}").json()["configuration_json"]
    # Chroma's word for none.
    assert configuration["embedding_function"] in (None, {"type": "legacy"})
    assert configuration["hnsw"]["space"] == "cosine"


def test_embedding_function_that_the_server_names_is_not_built(
    store: ChromaVectorStore, physical: str, rest: httpx2.Client
) -> None:
    function = {"type": "known", "name": "no-such-function", "config": {}}
    made = rest.post(
        "/collections",
        json={"name": physical, "configuration": {"hnsw": {"space": "cosine"}, "embedding_function": function}},
    )
    assert made.is_success, made.text
    # Chroma's client warns about a function that it cannot build, and warnings are errors here.
    store.add(physical, [make_entry("a")])
    assert [hit.id for hit in store.query(physical, direction(0), scope=HANDBOOK, limit=3)] == ["a"]


def test_reading_makes_no_collection(store: ChromaVectorStore, physical: str, rest: httpx2.Client) -> None:
    for name, operation in OPERATIONS.items():
        if name != "add":
            operation(store, physical)
    store.add(physical, [])
    assert rest.get(f"/collections/{physical}").status_code == 404


def test_two_stores_see_the_same(
    store: ChromaVectorStore, other_store: ChromaVectorStore, physical: str, rest: httpx2.Client
) -> None:
    assert other_store.existing(physical, ["a"]) == set()
    store.add(physical, [make_entry("a")])
    assert other_store.existing(physical, ["a"]) == {"a"}
    other_store.add(physical, [make_entry("b")])
    store.delete(physical, ["a"])
    assert other_store.ids_of_scope(physical, HANDBOOK) == store.ids_of_scope(physical, HANDBOOK) == {"b": "doc_1"}


def test_replaced_collection_is_found_again(store: ChromaVectorStore, physical: str, rest: httpx2.Client) -> None:
    """Never an empty answer from a collection that is no more: a question would be answered with nothing found."""
    for operation in OPERATIONS.values():
        store.add(physical, [make_entry("a")])
        rest.delete(f"/collections/{physical}").raise_for_status()
        with pytest.raises(TransientError, match="gone"):
            operation(store, physical)
    assert store.ids_of_scope(physical, HANDBOOK) == {}
    store.add(physical, [make_entry("b")])
    assert store.ids_of_scope(physical, HANDBOOK) == {"b": "doc_1"}


def test_threads_and_processes_may_open_a_new_collection_at_once(
    store: ChromaVectorStore, other_store: ChromaVectorStore, physical: str
) -> None:
    """Two stores stand for two processes, with four threads each."""
    barrier = threading.Barrier(8)

    def add(number: int) -> None:
        barrier.wait(timeout=10)
        (store if number % 2 else other_store).add(physical, [make_entry(str(number))])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
    assert store.ids_of_scope(physical, HANDBOOK) == {str(number): "doc_1" for number in range(8)}


@every_operation
def test_server_that_is_away_is_transient(operation: Callable[[VectorStore, str], object]) -> None:
    with closing(ChromaVectorStore(f"http://127.0.0.1:{free_port()}")) as store:
        assert _seconds_to_fail(partial(operation, store, "ragline-away")) < 1


@pytest.mark.slow
def test_server_that_does_not_even_accept_is_given_up_soon() -> None:
    """A full backlog drops connections silently, as a host that is gone does."""
    with ExitStack() as exits:
        listener = exits.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = exits.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        store = exits.enter_context(closing(ChromaVectorStore(f"http://127.0.0.1:{listener.getsockname()[1]}")))
        assert 1 < _seconds_to_fail(partial(OPERATIONS["query"], store, "ragline-away")) < 3


@every_operation
def test_server_that_never_answers_is_given_up(operation: Callable[[VectorStore, str], object]) -> None:
    with _silent_server() as url, closing(ChromaVectorStore(url, timeout_seconds=0.2)) as store:
        assert 0.1 < _seconds_to_fail(partial(operation, store, "ragline-silent")) < 1


def test_threads_wait_for_a_silent_server_together() -> None:
    """Not one after the other: the last would wait a multiple of the timeout."""
    with (
        _silent_server() as url,
        closing(ChromaVectorStore(url, timeout_seconds=0.5)) as store,
        ThreadPoolExecutor(8) as pool,
    ):
        began = time.monotonic()
        waits = list(pool.map(lambda _: _seconds_to_fail(partial(OPERATIONS["query"], store, "x")), range(8)))
        assert len(waits) == 8
        assert time.monotonic() - began < 2


BAD_ANSWERS: list[tuple[int, str, type[DependencyError]]] = [
    (500, '{"error": "InternalError", "message": "disk full"}', TransientError),
    (503, '{"error": "ChromaError", "message": "unavailable"}', TransientError),
    (503, "<h1>no healthy upstream</h1>\n<p>x</p>", TransientError),
    (502, "", TransientError),
    (429, '{"error": "RateLimitError", "message": "slow down"}', TransientError),
    (429, "slow down", TransientError),
    (408, "", TransientError),
    (400, '{"error": "InvalidArgumentError", "message": "no"}', RejectedError),
    (400, '{"error": "OfTheFuture", "message": "no"}', RejectedError),
    (401, '{"error": "AuthError", "message": "no"}', RejectedError),
    (403, "<h1>Forbidden</h1>\n<p>x</p>", RejectedError),
    (404, "<h1>Not here</h1>\n<p>x</p>", RejectedError),
    (413, "too large", RejectedError),
    (302, "", RejectedError),
    (200, "<h1>Welcome to nginx</h1>", ProtocolError),
    (200, "", ProtocolError),
    (200, "null", ProtocolError),
    (200, "[]", ProtocolError),
    (200, "{}", ProtocolError),
    (200, '"text"', ProtocolError),
    (200, '{"id": 1}', ProtocolError),
]


@pytest.mark.parametrize(("status", "text", "kind"), BAD_ANSWERS)
def test_bad_answer_is_a_typed_error(status: int, text: str, kind: type[DependencyError]) -> None:
    with (
        _answering(lambda *_: (status, "text/html" if "<" in text else "application/json", text)) as url,
        closing(ChromaVectorStore(url)) as store,
    ):
        for operation in OPERATIONS.values():
            _check_error(partial(operation, store, "ragline-bad"), kind)


@pytest.mark.parametrize(
    "text",
    [
        "<h1>hi</h1>",
        "",
        "null",
        "[]",
        "{}",
        "17",
        '{"ids": null}',
        '{"ids": [], "metadatas": null}',
        '{"ids": [["a"]], "metadatas": [[null]], "documents": [["t"]], "distances": [[0.1]]}',
        '{"ids": [["a"]], "metadatas": [[{}]], "documents": [["t"]], "distances": [[0.1]]}',
        '{"ids": [["a", "b"]], "metadatas": [[{"document_id": "d"}]], "documents": [["t"]], "distances": [[0.1]]}',
        '{"ids": [["a"]], "metadatas": [[{"document_id": "d"}]], "documents": [["t"]], "distances": [["near"]]}',
    ],
)
def test_garbage_from_a_known_collection_is_a_typed_error(text: str) -> None:
    def answer(method: str, path: str) -> tuple[int, str, str]:
        if path.endswith("/pre-flight-checks"):
            return 200, "application/json", '{"max_batch_size": 1000, "supports_base64_encoding": true}'
        opening = path.endswith("/collections") or method == "GET"
        return 200, "application/json", _collection("ragline-bad") if opening else text

    with _answering(answer) as url, closing(ChromaVectorStore(url)) as store:
        for name in ("query", "ids_of_scope", "ids_of_document"):
            _check_error(partial(OPERATIONS[name], store, "ragline-bad"), ProtocolError)


@every_operation
def test_server_that_hangs_up_is_transient(operation: Callable[[VectorStore, str], object]) -> None:
    with _answering(lambda *_: None) as url, closing(ChromaVectorStore(url)) as store:
        _check_error(partial(operation, store, "ragline-bad"), TransientError)


def test_server_may_freeze_die_and_come_back(tmp_path: Path) -> None:
    with (
        chroma_server(tmp_path) as (url, process),
        closing(ChromaVectorStore(url, timeout_seconds=0.3)) as store,
        closing(ChromaVectorStore(url, timeout_seconds=0.3)) as unused_until_then,
    ):
        store.add("ragline-durable", [make_entry("a", text="before")])
        process.freeze()
        for name, operation in OPERATIONS.items():
            began = time.monotonic()
            error = _check_error(partial(operation, store, "ragline-durable"), TransientError)
            assert time.monotonic() - began < 1
            # A write may land yet, once the server goes on.
            assert error.unanswered == (name in {"add", "delete"})
        process.thaw()
        process.kill()
        for operation in OPERATIONS.values():
            assert _seconds_to_fail(partial(operation, store, "ragline-durable")) < 1
        process.restart()
        process.wait_ready(lambda: _is_up(url))
        store.add("ragline-durable", [make_entry("b", 90, text="after")])
        for one in (store, unused_until_then):
            hits = one.query("ragline-durable", direction(0), scope=HANDBOOK, limit=3)
            assert [hit.text for hit in hits] == ["before", "after"]


@contextmanager
def _silent_server() -> Iterator[str]:
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def _seconds_to_fail(run: Callable[[], object]) -> float:
    began = time.monotonic()
    _check_error(run, TransientError)
    return time.monotonic() - began


def _check_error(run: Callable[[], object], kind: type[ErrorT]) -> ErrorT:
    with pytest.raises(DependencyError) as raised:
        run()
    assert type(raised.value) is kind, repr(raised.value)
    assert raised.value.service == "chroma"
    # One line, and nothing of a page that a proxy sent.
    assert "\n" not in raised.value.detail
    assert "<" not in raised.value.detail
    return raised.value


def _is_up(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/api/v2/healthcheck", timeout=1).is_success
    except httpx2.HTTPError:
        return False
