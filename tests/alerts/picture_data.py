"""Uses a whole service for some minutes, lets parts of it fail, and has the dashboards drawn from what Prometheus saw.

`make dashboard-pictures` runs it. What KEDA would show is said by an exporter, from the same queues.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx2

from charts.monitoring.build import rules_text
from charts.monitoring.promql import Clock
from ragline.common.queues import Queue
from tests.support import pdfs
from tests.support.openai_stub import OpenAIStub, Reply, openai_stub
from tests.support.prometheus import Exporter, Prometheus, Target, exporter, prometheus_server
from tests.support.stack import Stack, running_stack

__all__ = ["main"]

MINUTES = float(os.environ.get("MINUTES", "8"))
PRICES = {"stub-chat": {"input": 0.15, "output": 0.6}, "text-embedding-3-small": {"input": 0.02, "output": 0}}
READERS, WRITERS = 5, 2
SCRAPE_SECONDS = 5
DICE = random.Random(6)  # noqa: S311 - nothing secret


def main() -> None:
    """Start everything, use it, break it, draw it."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as exits:
        stub = exits.enter_context(openai_stub())
        stub.usual = _reply
        stack = exits.enter_context(running_stack(Path(folder), _settings(stub)))
        cluster = exits.enter_context(exporter())
        prometheus = exits.enter_context(_watching(stack, cluster, Path(folder)))
        exits.enter_context(_used(stack, cluster))
        _incidents(stack)
        pictures = Path(sys.executable).parents[1] / "pictures" / "bin" / "python"
        env = {**os.environ, "PROMETHEUS_URL": prometheus.url, "MINUTES": str(MINUTES)}
        subprocess.run([str(pictures), "-m", "charts.monitoring.pictures"], env=env, check=True)


def _settings(stub: OpenAIStub) -> dict[str, str]:
    return {
        "EMBEDDER": "openai",
        "LLM_MODEL": "stub-chat",
        "MODEL_PRICES": json.dumps(PRICES),
        "OPENAI_API_KEY": "a-key-of-the-stub",
        "OPENAI_BASE_URL": stub.url,
        "PDF_ENGINE": "pypdf",
        "RATE_LIMIT_RAG_PER_MINUTE": "130",
    }


def _reply(body: dict[str, Any]) -> Reply:
    if "messages" not in body:
        return Reply(delay_seconds=DICE.lognormvariate(-2, 0.5))
    tokens = {"prompt_tokens": DICE.randint(300, 900), "completion_tokens": DICE.randint(40, 300)}
    return Reply(delay_seconds=DICE.lognormvariate(0, 0.6), usage=tokens)


@contextmanager
def _watching(stack: Stack, cluster: Exporter, folder: Path) -> Iterator[Prometheus]:
    targets = [
        Target(address=stack.client.base_url.netloc.decode(), labels={"namespace": "documents", "pod": "api-0"}),
        Target(address=cluster.address, path="/keda", labels={"namespace": "keda"}),
    ]
    rules = rules_text(Clock())
    with prometheus_server(folder / "prometheus", targets, rules=rules, interval_seconds=SCRAPE_SECONDS) as running:
        yield running


@contextmanager
def _used(stack: Stack, cluster: Exporter) -> Iterator[None]:
    end = Event()
    url = str(stack.client.base_url)
    jobs = [(_read, (url, end))] * READERS + [(_write, (url, end))] * WRITERS
    threads = [Thread(target=target, args=given, daemon=True) for target, given in jobs]
    threads.append(Thread(target=_scale, args=(url, end, cluster), daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join(timeout=70)


def _incidents(stack: Stack) -> None:
    """Chroma is away for a while; the document workers are, and come back to a backlog."""
    part = MINUTES * 60 / 8
    time.sleep(2.5 * part)
    stack.chroma.kill()
    time.sleep(0.5 * part)
    stack.chroma.restart()
    time.sleep(1.5 * part)
    stack.workers[Queue.DOCUMENT].kill()
    time.sleep(part)
    stack.workers[Queue.DOCUMENT].restart()
    time.sleep(2.5 * part)


def _read(url: str, end: Event) -> None:
    with httpx2.Client(base_url=url, timeout=65) as client:
        while not end.wait(DICE.uniform(0.2, 1.2)):
            question = f"What about otter {DICE.randint(1, 400)}?"
            _send(client, "/v1/collections/shelf/queries", json={"question": question})


def _write(url: str, end: Event) -> None:
    with httpx2.Client(base_url=url, timeout=65) as client:
        while not end.wait(DICE.uniform(0.5, 2)):
            number = DICE.randint(1, 60)
            # A new page in front of old ones: most of its chunks are kept.
            pages = [f"Otter {DICE.random()} of {number}."]
            pages += [f"Otter {number}, page {page}: " + "it sleeps in rafts. " * 60 for page in range(number % 9)]
            data = pdfs.encrypted_pdf("secret") if number % 20 == 0 else pdfs.text_pdf(pages)
            _send(client, "/v1/collections/shelf/documents", files={"file": (f"{number}.pdf", data)})


def _send(client: httpx2.Client, path: str, **body: Any) -> None:  # noqa: ANN401
    try:
        client.post(path, **body)
    except httpx2.HTTPError:
        return


def _scale(url: str, end: Event, cluster: Exporter) -> None:
    """What KEDA's triggers would be."""
    with httpx2.Client(base_url=url, timeout=10) as client:
        while not end.wait(2):
            reply = client.get("/tasks/info")
            queues = reply.json().get("queues", []) if reply.is_success else []
            cluster.pages = {"/keda": dict(_triggers(queues))}


def _triggers(queues: list[dict[str, Any]]) -> Iterator[tuple[str, float]]:
    for queue in queues:
        named = f'namespace="documents", scaledObject="ragline-worker-{queue["name"]}"'
        for place, (scaler, value) in enumerate((("queued", queue["waiting"]), ("inflight", queue["in_flight"]))):
            yield f'keda_scaler_metrics_value{{{named}, scaler="{scaler}", triggerIndex="{place}"}}', value
        yield f"keda_scaled_object_errors_total{{{named}}}", 0


if __name__ == "__main__":
    main()
