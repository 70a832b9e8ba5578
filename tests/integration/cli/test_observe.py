"""`ragline up --observe` and the operator's commands, all of them real: what happens to a document is seen."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ragline.common.span_names import ACCEPT, CLAIM, QUEUE_WAIT
from tests.support.laptop import Laptop, new_laptop
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SAMPLE = Path(__file__).parents[3] / "samples" / "device-manual.pdf"


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    """A laptop on which nothing runs yet."""
    laptop = new_laptop(tmp_path)
    yield laptop
    for pid in laptop.processes():
        os.kill(pid, signal.SIGKILL)


def read(laptop: Laptop, *words: str) -> dict[str, Any]:
    """What a command prints for programs."""
    status, said = laptop.run(*words, "--json")
    assert status == 0, said
    reply: dict[str, Any] = json.loads(said)
    return reply


def upload(laptop: Laptop) -> str:
    status, said = laptop.run("ingest", str(SAMPLE), "-c", "papers")
    found = re.search(r"doc_[0-9a-f]{24}", said)
    assert (status, found is not None) == (0, True), said
    return found[0] if found else ""


def test_what_happens_to_a_document_is_seen(laptop: Laptop) -> None:
    observer = f"http://127.0.0.1:{laptop.env['OBSERVER_PORT']}"
    with laptop.started("up", "--observe") as service:
        wait_until(lambda: "Ragline is ready" in laptop.said("up") or service.poll() is not None, timeout_seconds=60)
        assert observer in laptop.said("up")
        document = upload(laptop)
        trace = _whole_trace(laptop, document)
        assert trace["source"] == observer
        steps = {span["name"] for span in trace["spans"]}
        assert {ACCEPT, QUEUE_WAIT, CLAIM, "convert", "split", "index"} <= steps
        _check_pages(observer, trace["trace_id"], document)
        _check_commands(laptop, document)
        service.terminate()
        assert service.wait(40) == 0
    wait_until(lambda: laptop.processes() == [], timeout_seconds=5)


def _whole_trace(laptop: Laptop, document: str) -> dict[str, Any]:
    """Spans come in batches, of each process by itself; the ledger fills in meanwhile."""
    trace: dict[str, Any] = {}

    def complete() -> bool:
        nonlocal trace
        trace = read(laptop, "trace", document)
        return "index" in {span["name"] for span in trace["spans"]} and trace["source"] != "ledger"

    wait_until(complete, timeout_seconds=30)
    return trace


def _check_pages(observer: str, trace_id: str, document: str) -> None:
    assert trace_id in httpx2.get(f"{observer}/", params={"q": document}).text
    page = httpx2.get(f"{observer}/trace/{trace_id}")
    assert page.status_code == 200
    assert QUEUE_WAIT in page.text


def _check_commands(laptop: Laptop, document: str) -> None:
    told = read(laptop, "trace", document, "--jaeger-url", "http://127.0.0.1:1")
    assert told["source"] == "ledger"
    names = [span["name"] for span in told["spans"]]
    assert names == ["ingest", QUEUE_WAIT, "convert", QUEUE_WAIT, "split", QUEUE_WAIT, "index"]
    view = read(laptop, "top", "--interval", "0.5")
    assert all(len(queue["workers"]) == 1 for queue in view["queues"])
    assert (view["documents"]["indexed"], view["gaps"]) == (1, [])
    (scaling,) = read(laptop, "explain-scale", "document")["queues"]
    assert "never scaled" in scaling["next"]
    assert "succeeded" in read(laptop, "why", document)["sentences"][0]
