"""A proxy in front of Redis that counts round trips: turns from asking to answering on a connection."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from urllib.parse import urlsplit

__all__ = ["RoundTrips", "counting_proxy"]

_BUFFER_BYTES = 2**16


@dataclass(kw_only=True)
class RoundTrips:
    """The proxy's address and what it has counted."""

    url: str
    count: int = 0


@contextmanager
def counting_proxy(redis_url: str) -> Iterator[RoundTrips]:
    """A Redis at another address that is the same one."""
    target = urlsplit(redis_url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        trips = RoundTrips(url=f"redis://127.0.0.1:{listener.getsockname()[1]}/0")
        Thread(target=_accept, args=(listener, (target.hostname or "", target.port or 0), trips), daemon=True).start()
        yield trips


def _accept(listener: socket.socket, target: tuple[str, int], trips: RoundTrips) -> None:
    while True:
        try:
            asking, _ = listener.accept()
        except OSError:
            return  # closed
        answering = socket.create_connection(target)
        for end in (asking, answering):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Turns(asking, answering, trips)


class Turns:
    """One connection: a request after an answer begins a round trip, more of the same request does not."""

    def __init__(self, asking: socket.socket, answering: socket.socket, trips: RoundTrips) -> None:
        self._trips = trips
        self._answered = True
        for source, sink, asks in ((asking, answering, True), (answering, asking, False)):
            Thread(target=self._pass_on, args=(source, sink, asks), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, asks: bool) -> None:
        try:
            while data := source.recv(_BUFFER_BYTES):
                if asks and self._answered:
                    self._trips.count += 1
                self._answered = not asks
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                end.close()
