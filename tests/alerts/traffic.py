"""Somebody who uses the service all the time, whatever it answers."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from threading import Event, Thread

import httpx2

from tests.support import pdfs

__all__ = ["Traffic"]

_READERS = 4
_PAUSE_SECONDS = 0.2


class Traffic:
    """Questions from several readers at once; documents with `poison` in them while `uploads` is set."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._end = Event()
        self._numbers = count()
        self.asks = Event()
        self.uploads = Event()
        self.statuses: Counter[int] = Counter()

    @contextmanager
    def running(self) -> Iterator["Traffic"]:
        """Readers ask while `asks` is set; it is, at first."""
        self.asks.set()
        threads = [Thread(target=self._read, daemon=True) for _ in range(_READERS)]
        threads.append(Thread(target=self._write, daemon=True))
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._end.set()
            for thread in threads:
                thread.join(timeout=70)

    def _read(self) -> None:
        with httpx2.Client(base_url=self._url, timeout=65) as client:
            while not self._end.wait(_PAUSE_SECONDS):
                if self.asks.is_set():
                    body = {"question": f"How do otters sleep? {next(self._numbers)}"}
                    self._send(client, "/v1/collections/animals/queries", json=body)

    def _write(self) -> None:
        with httpx2.Client(base_url=self._url, timeout=65) as client:
            while not self._end.wait(1):
                if self.uploads.is_set():
                    number = next(self._numbers)
                    data = pdfs.text_pdf([f"This is poison, number {number}."])
                    self._send(client, "/v1/collections/poison/documents", files={"file": (f"{number}.pdf", data)})

    def _send(self, client: httpx2.Client, path: str, **body: object) -> None:
        try:
            self.statuses[client.post(path, **body).status_code] += 1  # type: ignore[arg-type]
        except httpx2.HTTPError:
            # The API is away: that, too, happens to its users.
            self.statuses[0] += 1
