"""`ragline demo`: from nothing to a cited answer from the sample documents."""

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from ragline.cli.asking import print_citations, read_answer
from ragline.cli.client import RaglineClient
from ragline.cli.failures import ApiFailure, ApiUnreachable, CannotStart
from ragline.cli.ingesting import ingest_files, outcome_table
from ragline.cli.options import given_api_key
from ragline.cli.replies import Answer
from ragline.cli.supervisor.data_folder import FolderInUse, announced_service
from ragline.cli.supervisor.plan import LaptopSettings
from ragline.cli.supervisor.probes import http_ok
from ragline.cli.supervisor.supervisor import Supervisor
from ragline.cli.up import serve

__all__ = ["KeyMissing", "Samples", "SamplesMissing", "demo_key", "load_samples", "run_demo"]

_COLLECTION = "samples"

_START_SECONDS = 60.0
_POLL_SECONDS = 0.2


class KeyMissing(CannotStart):
    """The service would refuse the demo."""


class SamplesMissing(CannotStart):
    """The folder holds no samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Documents, a question, and where its answer stands."""

    files: tuple[Path, ...]
    question: str
    document: str
    page: int

    def answered_by(self, answer: Answer) -> bool:
        """Whether the first citation is the right page."""
        first = answer.citations[0] if answer.citations else None
        return first is not None and (first.document, first.page) == (self.document, self.page)


def load_samples(folder: Path) -> Samples:
    """Read the samples.

    Raises
    ------
    SamplesMissing
        There are none.
    """
    files = tuple(sorted(folder.glob("*.pdf")))
    try:
        first: dict[str, Any] = json.loads((folder / "questions.json").read_text())[0]
        samples = Samples(files=files, question=first["question"], document=first["document"], page=first["page"])
    except (OSError, ValueError, LookupError) as error:
        raise SamplesMissing(f"{folder} holds no questions.json with a first question") from error
    if not files:
        raise SamplesMissing(f"{folder} holds no PDF")
    return samples


def run_demo(settings: LaptopSettings, samples: Samples, *, stop_after: bool, console: Console) -> int:
    """Start the service unless it runs, ingest the samples and ask.

    Parameters
    ----------
    stop_after
        End the service after the answer; otherwise it goes on until Ctrl-C.

    Returns
    -------
    int
        Exit status: 0 when the first citation was the right page.

    Raises
    ------
    KeyMissing
        The service wants a key and none is known.
    """
    began = time.monotonic()
    demo = _Demo(samples, console=console, api_key=demo_key(settings), began=began)
    try:
        return _serve_and_ask(settings, demo, stop_after=stop_after, console=console)
    except FolderInUse:
        running = announced_service(settings.local.data_dir)
        if running is None:
            raise
        console.print(f"Using the service that runs already at {running.api_url}")
        _wait_ready(running.api_url)
        return demo.run(running.api_url, stays=True)


def _serve_and_ask(settings: LaptopSettings, demo: "_Demo", *, stop_after: bool, console: Console) -> int:
    outcomes: list[Future[int]] = []

    def on_ready(supervisor: Supervisor, api_url: str) -> None:
        # In a thread of its own: the supervisor goes on looking after the parts.
        outcomes.append(pool.submit(demo.run, api_url, stays=not stop_after))
        if stop_after:
            outcomes[0].add_done_callback(lambda _: supervisor.stop())

    with ThreadPoolExecutor(1, thread_name_prefix="demo") as pool:
        status = serve(settings, console=console, show_logs=False, on_ready=on_ready)
    return status or (outcomes[0].result() if outcomes else 1)


def demo_key(settings: LaptopSettings) -> str | None:
    """What the demo calls the service with, if that wants a key.

    Raises
    ------
    KeyMissing
        None is known.
    """
    if not settings.api.enable_auth:
        return None
    first = settings.api.api_keys.get_secret_value().split(",")[0].strip()
    key = first or given_api_key()
    if not key:
        raise KeyMissing(
            "ENABLE_AUTH is on: the demo needs a key, in API_KEYS or, from `ragline keys`, RAGLINE_API_KEY"
        )
    return key


def _wait_ready(api_url: str) -> None:
    """Give a service that was started a moment ago time to become ready; what fails after that says why."""
    ready, deadline = http_ok(f"{api_url}/readyz"), time.monotonic() + _START_SECONDS
    while not ready() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


class _Demo:
    def __init__(self, samples: Samples, *, console: Console, api_key: str | None, began: float) -> None:
        self._samples = samples
        self._console = console
        self._api_key = api_key
        self._began = began

    def run(self, api_url: str, *, stays: bool) -> int:
        """Ingest and ask a service, which may be there for more questions afterwards; the exit status."""
        with RaglineClient(api_url, api_key=self._api_key) as client:
            try:
                status = self._ingest(client) or self._ask(client)
            except (ApiFailure, ApiUnreachable) as failure:
                self._console.print(Text(str(failure), "bold red"), soft_wrap=True)
                return 1
        if stays and not status:
            more = f'Ask on: .venv/bin/ragline ask "..." --collection {_COLLECTION}'
            self._console.print(more, highlight=False)
        return status

    def _ask(self, client: RaglineClient) -> int:
        self._console.print(Text.assemble("\n", ("Question: ", "bold"), self._samples.question), soft_wrap=True)
        self._console.print("Answer:   ", style="bold", end="")
        answer = read_answer(client.ask_stream(_COLLECTION, self._samples.question), self._console)
        print_citations(answer, self._console)
        return self._judge(answer)

    def _ingest(self, client: RaglineClient) -> int:
        outcomes = ingest_files(client, self._samples.files, collection=_COLLECTION, wait=True, console=self._console)
        if all(outcome.ok for outcome in outcomes):
            return 0
        self._console.print(outcome_table(outcomes))
        return 1

    def _judge(self, answer: Answer) -> int:
        expected = f"{self._samples.document}, page {self._samples.page}"
        seconds = time.monotonic() - self._began
        right = self._samples.answered_by(answer)
        verdict = "the right page" if right else f"NOT the right page, which is {expected}"
        style = "bold green" if right else "bold red"
        self._console.print(Text(f"\nThe first citation is {verdict}. From start to answer: {seconds:.1f} s", style))
        return 0 if right else 1
