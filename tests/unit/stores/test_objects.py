"""The object store in a folder and in memory: the same promises, the same errors."""

import asyncio
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ragline.common.config import ConfigError
from ragline.common.errors import ProtocolError, RagError, TooLarge, TransientError
from ragline.stores.objects import ObjectStore
from tests.support.servers import free_port

ODD_KEYS = [
    "with space",
    "ünï/cödé 世界",
    "per%41cent",
    "a%2Fb",
    "q?x=1#f",
    "back\\slash",
    "a:b*c<d>|e",
    "x" * 200,
    ".h",
]

NO_KEYS = ["..", "../outside", "a/../../outside", "a//b", "new\nline", "nul\0", "\x7f"]

MANY_BYTES = bytes(range(256)) * 4096 * 12
"""12 MiB: more than one part of an upload (5 MiB)."""


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:///" if request.param == "memory" else (tmp_path / "objects").as_uri()


@pytest.fixture
def store(url: str) -> ObjectStore:
    return ObjectStore(url)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


async def _stream(*parts: bytes, then: BaseException | None = None) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if then is not None:
        raise then


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class TestEveryStore:
    """What holds for any URL."""

    def test_object_comes_back_as_it_was_put(self, store: ObjectStore) -> None:
        for data in (b"", b"text", MANY_BYTES):
            store.put("a/b/c", data)
            assert store.get("a/b/c") == data

    def test_put_replaces(self, store: ObjectStore) -> None:
        store.put("a", b"a longer first object")
        store.put("a", b"second")
        assert store.get("a") == b"second"
        assert store.keys("") == ["a"]

    def test_keys_are_sorted_and_below_whole_folders(self, store: ObjectStore) -> None:
        for key in ("d/10/x", "d/1/y", "d/1/x", "d/2", "da/x", "e"):
            store.put(key, b"")
        assert store.keys("") == ["d/1/x", "d/1/y", "d/10/x", "d/2", "da/x", "e"]
        assert store.keys("d/1/") == store.keys("d/1") == ["d/1/x", "d/1/y"]
        assert store.keys("d") == ["d/1/x", "d/1/y", "d/10/x", "d/2"]
        assert store.keys("nothing/here") == []

    def test_removed_object_is_gone(self, store: ObjectStore) -> None:
        store.put("a", b"1")
        store.put("b", b"2")
        store.remove("a")
        asyncio.run(store.remove_async("b"))
        assert store.keys("") == []

    def test_removing_nothing_is_fine(self, store: ObjectStore) -> None:
        store.remove("a/b")
        asyncio.run(store.remove_async("a/b"))
        store.delete_prefix("a/")

    def test_prefix_is_deleted_and_nothing_beside_it(self, store: ObjectStore) -> None:
        """More objects than the store lists at a time."""
        for number in range(130):
            store.put(f"d/1/part-{number}", b"x")
        for key in ("d/10/x", "d/2", "e/1/x"):
            store.put(key, b"x")
        store.delete_prefix("d/1/")
        assert store.keys("") == ["d/10/x", "d/2", "e/1/x"]

    @pytest.mark.parametrize("key", ODD_KEYS)
    def test_odd_key_is_kept(self, store: ObjectStore, key: str) -> None:
        store.put(key, b"odd")
        assert store.get(key) == b"odd"
        assert store.keys("") == [key]
        with store.local_copy(key) as path:
            assert path.read_bytes() == b"odd"
        store.delete_prefix(key.partition("/")[0])
        store.remove(key)
        assert store.keys("") == []

    @pytest.mark.parametrize("key", NO_KEYS)
    def test_key_that_is_no_path_is_refused(self, store: ObjectStore, key: str, tmp_path: Path) -> None:
        (tmp_path / "outside").write_bytes(b"not ours")
        uses: list[Callable[[], object]] = [
            lambda: store.put(key, b"x"),
            lambda: store.get(key),
            lambda: store.remove(key),
            lambda: asyncio.run(store.upload(key, _stream(b"x"))),
            lambda: store.local_copy(key).__enter__(),
        ]
        for use in uses:
            with pytest.raises((TypeError, ValueError), match="path"):
                use()
        assert (tmp_path / "outside").read_bytes() == b"not ours"

    def test_leading_slash_does_not_lead_outside(self, store: ObjectStore) -> None:
        with pytest.raises(ProtocolError), store.local_copy(__file__):
            pass

    def test_missing_object_is_a_protocol_error(self, store: ObjectStore) -> None:
        store.put("folder/file", b"")
        for key in ("missing", "folder/missing", "folder"):
            for use in (store.get, lambda key: store.local_copy(key).__enter__()):
                with pytest.raises(ProtocolError) as raised:
                    use(key)
                _check_text(raised.value)

    def test_upload_writes_the_whole_stream(self, store: ObjectStore) -> None:
        parts = [MANY_BYTES[start : start + 700_001] for start in range(0, len(MANY_BYTES), 700_001)]
        asyncio.run(store.upload("big", _stream(*parts)))
        asyncio.run(store.upload("small", _stream(b"a", b"", b"b")))
        asyncio.run(store.upload("empty", _stream()))
        assert store.get("big") == MANY_BYTES
        assert (store.get("small"), store.get("empty")) == (b"ab", b"")

    @pytest.mark.parametrize(
        "error",
        [TooLarge("too large"), ValueError("two\nlines"), asyncio.CancelledError()],
        ids=lambda e: type(e).__name__,
    )
    @pytest.mark.parametrize("part", [b"x", MANY_BYTES], ids=["small", "big"])
    def test_stream_that_raises_leaves_nothing(
        self, store: ObjectStore, tmp_path: Path, error: BaseException, part: bytes
    ) -> None:
        with pytest.raises(type(error)) as raised:
            asyncio.run(store.upload("new", _stream(part, part, then=error)))
        assert str(raised.value) == str(error)
        assert store.keys("") == []
        assert _files(tmp_path) == []

    def test_stream_that_raises_leaves_the_old_object(self, store: ObjectStore) -> None:
        store.put("a", b"old")
        with pytest.raises(TooLarge):
            asyncio.run(store.upload("a", _stream(MANY_BYTES, then=TooLarge("too large"))))
        assert store.get("a") == b"old"

    @pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), OSError("first\nsecond")], ids=repr)
    def test_stream_that_breaks_off_is_transient(self, store: ObjectStore, error: OSError) -> None:
        """Some of them have no text of their own."""
        with pytest.raises(TransientError) as raised:
            asyncio.run(store.upload("new", _stream(b"x", then=error)))
        _check_text(raised.value)
        assert store.keys("") == []

    def test_unfinished_upload_is_not_seen(self, store: ObjectStore) -> None:
        async def looks() -> AsyncIterator[bytes]:
            yield MANY_BYTES
            assert store.keys("") == ["a"]
            assert store.get("a") == b"old"
            yield b"end"

        store.put("a", b"old")
        asyncio.run(store.upload("a", looks()))
        assert store.get("a") == MANY_BYTES + b"end"

    def test_local_copy_is_readable_and_no_temporary_file_stays(self, store: ObjectStore, temporary: Path) -> None:
        store.put("a/b", MANY_BYTES)
        with store.local_copy("a/b") as path:
            assert path.read_bytes() == MANY_BYTES
        assert store.get("a/b") == MANY_BYTES
        with pytest.raises(RuntimeError), store.local_copy("a/b"):
            raise RuntimeError
        with pytest.raises(ProtocolError), store.local_copy("missing"):
            pass
        assert _files(temporary) == []

    def test_ping_answers(self, store: ObjectStore) -> None:
        asyncio.run(store.ping())


def test_two_stores_on_one_folder_see_the_same(tmp_path: Path) -> None:
    one, other = ObjectStore((tmp_path / "o").as_uri()), ObjectStore((tmp_path / "o").as_uri())
    one.put("a", b"1")
    assert other.get("a") == b"1"
    other.remove("a")
    assert one.keys("") == []


def test_two_stores_may_write_one_key_at_once(tmp_path: Path) -> None:
    """A reader sees one of the two objects whole, never a mixture."""
    url = (tmp_path / "o").as_uri()
    contents = {letter * 200_000 for letter in (b"a", b"b")}
    ObjectStore(url).put("k", min(contents))

    def write(data: bytes) -> None:
        store = ObjectStore(url)
        for _ in range(60):
            store.put("k", data)

    writers = [threading.Thread(target=write, args=(data,)) for data in contents]
    for writer in writers:
        writer.start()
    store, seen = ObjectStore(url), set()
    while any(writer.is_alive() for writer in writers):
        seen.add(store.get("k"))
    for writer in writers:
        writer.join()
    assert seen
    assert seen <= contents
    assert _files(tmp_path) == ["o/k"]


@pytest.mark.parametrize("name", ["with space", "ünï", "a#b", "a?b", "a%20b"])
def test_folder_of_any_name_works(tmp_path: Path, name: str) -> None:
    store = ObjectStore((tmp_path / name).as_uri())
    store.put("k", b"1")
    with store.local_copy("k") as path:
        assert path == tmp_path / name / "k"
        assert path.read_bytes() == b"1"


@pytest.mark.parametrize("url", ["", "/no/scheme", "ftp://host/x", "file://relative/x", "s3://", "objects"])
def test_wrong_url_is_a_setting_to_change(url: str) -> None:
    with pytest.raises(ConfigError, match=r"\AOBJECT_STORE_URL: .+\Z"):
        ObjectStore(url)


def test_folder_that_cannot_be_made_is_a_setting_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"\AOBJECT_STORE_URL: .+\Z"):
        ObjectStore((tmp_path / "file" / "objects").as_uri())


def test_folder_that_is_no_longer_one_is_transient(tmp_path: Path) -> None:
    """As for a disk that is gone; permissions would not hold root back."""
    store = ObjectStore((tmp_path / "o").as_uri())
    (tmp_path / "o").rmdir()
    (tmp_path / "o").write_bytes(b"")
    uses: list[Callable[[], object]] = [
        lambda: store.put("a", b"x"),
        lambda: store.get("a"),
        lambda: store.remove("a"),
        lambda: store.delete_prefix("a/"),
        lambda: store.local_copy("a").__enter__(),
        lambda: asyncio.run(store.remove_async("a")),
        lambda: asyncio.run(store.upload("a", _stream(b"x"))),
        lambda: asyncio.run(store.ping()),
    ]
    for use in uses:
        with pytest.raises(TransientError) as raised:
            use()
        _check_text(raised.value)


_FULL_DISK = """
import asyncio, resource, signal, sys, time
from pathlib import Path
from ragline.common.errors import TransientError
from ragline.stores.objects import ObjectStore

async def stream():
    for _ in range(12):
        yield bytes(2**20)

store = ObjectStore(sys.argv[1])
store.put("old", b"old")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, resource.RLIM_INFINITY))
for use in (lambda: store.put("old", bytes(2**21)), lambda: asyncio.run(store.upload("new", stream()))):
    try:
        use()
    except TransientError as error:
        print(error)
print(store.keys(""), store.get("old"))
# The library removes what it had begun in a thread of its own, which must not be cut short.
deadline = time.monotonic() + 10
while list(Path(sys.argv[2]).glob("new*")) and time.monotonic() < deadline:
    time.sleep(0.01)
"""


def test_full_disk_is_transient_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of a file stands for a disk without space; it holds in a process of its own."""
    folder = tmp_path / "o"
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, folder.as_uri(), folder], capture_output=True, text=True, check=True
    )
    *errors, rest = done.stdout.splitlines()
    assert [error.split(":")[0] for error in errors] == ["object store put"] * 2
    assert rest == "['old'] b'old'"
    assert _files(tmp_path) == ["o/old"]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], ObjectStore]:
    """A bucket on a port of this machine."""

    def make(port: int) -> ObjectStore:
        for name, value in {
            "AWS_ENDPOINT": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "key-of-a-test",
            "AWS_SECRET_ACCESS_KEY": "secret-of-a-test",
            "AWS_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        return ObjectStore("s3://bucket/prefix")

    return make


def test_bucket_that_is_away_is_given_up_soon(bucket: Callable[[int], ObjectStore]) -> None:
    began = time.monotonic()
    with pytest.raises(TransientError) as raised:
        bucket(free_port()).get("a")
    assert time.monotonic() - began < 5
    _check_text(raised.value)


def test_bucket_that_cannot_answer_is_asked_twice(bucket: Callable[[int], ObjectStore]) -> None:
    """The ledger decides about retries, not the client."""
    asked: list[bytes] = []
    stop = threading.Event()

    def serve(listener: socket.socket) -> None:
        listener.settimeout(0.05)
        while not stop.is_set():
            with suppress(TimeoutError), listener.accept()[0] as connection:
                connection.settimeout(5)
                asked.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        try:
            with pytest.raises(TransientError) as raised:
                bucket(listener.getsockname()[1]).get("a")
        finally:
            stop.set()
            server.join()
    assert [request.split(b" HTTP")[0] for request in asked] == [b"GET /bucket/prefix/a"] * 2
    _check_text(raised.value)


def _check_text(error: RagError) -> None:
    """One line each, for people and for logs, and nothing of the dump that obstore makes."""
    assert error.detail.startswith("object store ")
    for text in error.to_log().values():
        assert text
        assert "\n" not in text
        assert "Debug source" not in text
        assert "secret-of-a-test" not in text
