"""`ragline ingest`: uploads with progress, four at a time."""

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from ragline.cli.client import RaglineClient
from ragline.cli.failures import ApiFailure
from ragline.cli.replies import Job
from ragline.cli.replies import Progress as StepProgress

__all__ = ["Outcome", "ingest_files", "outcome_table"]

_UPLOADS_AT_ONCE = 4
"""Keeps the document workers of a laptop busy without holding many connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one file.

    Attributes
    ----------
    state
        ``indexed``, ``unchanged``, ``accepted`` (nobody waited), ``failed`` or ``cancelled``.
    """

    name: str
    state: str
    document_id: str = ""
    code: str = ""
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the document is there, or on its way."""
        return self.state in {"indexed", "unchanged", "accepted"}


def ingest_files(
    client: RaglineClient, files: Sequence[Path], *, collection: str, wait: bool, console: Console
) -> list[Outcome]:
    """Upload files and follow them to their end; one that fails stops no other.

    Raises
    ------
    ApiUnreachable
        Nobody answers at the API's address.
    """
    columns = (
        TextColumn("{task.description}"),
        TextColumn("[cyan]{task.fields[step]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(_UPLOADS_AT_ONCE) as pool:
        followed = [_Upload(client, path, collection=collection, wait=wait, progress=progress) for path in files]
        return list(pool.map(lambda upload: upload.run(), followed))


def outcome_table(outcomes: Sequence[Outcome]) -> Table:
    """What became of all files."""
    table = Table(
        Column("document", overflow="fold"), "state", Column("id", no_wrap=True), Column("why", overflow="fold")
    )
    for outcome in outcomes:
        style = "green" if outcome.ok else "red"
        why = f"{outcome.code}: {outcome.reason}" if outcome.code else outcome.reason
        table.add_row(Text(outcome.name), Text(outcome.state, style), outcome.document_id, Text(why))
    return table


class _Upload:
    def __init__(self, client: RaglineClient, path: Path, *, collection: str, wait: bool, progress: Progress) -> None:
        self._client = client
        self._path = path
        self._collection = collection
        self._wait = wait
        self._progress = progress
        self._task: TaskID = progress.add_task(path.name, total=None, start=False, step="waiting", unit="")

    def run(self) -> Outcome:
        self._progress.start_task(self._task)
        self._progress.update(self._task, step="upload")
        try:
            outcome = self._upload()
        except ApiFailure as failure:
            outcome = Outcome(name=self._path.name, state="failed", code=failure.code, reason=str(failure))
        except OSError as error:
            outcome = Outcome(name=self._path.name, state="failed", reason=f"cannot be read: {error.strerror}")
        self._progress.update(self._task, step=outcome.state, unit="", total=1, completed=int(outcome.ok))
        self._progress.stop_task(self._task)
        return outcome

    def _upload(self) -> Outcome:
        submission = self._client.upload(self._collection, self._path)
        document_id = submission.document_id or ""
        if submission.unchanged or not self._wait:
            state = "unchanged" if submission.unchanged else "accepted"
            return Outcome(name=self._path.name, state=state, document_id=document_id)
        # The stream is for the eye only: if it breaks, the job is still waited for.
        with contextlib.suppress(ApiFailure):
            self._show_events(submission.job_id)
        return self._outcome(self._client.finished(submission.job_id), document_id)

    def _outcome(self, job: Job, document_id: str) -> Outcome:
        if job.status == "succeeded":
            return Outcome(name=self._path.name, state="indexed", document_id=document_id)
        code, reason = (job.error.code, job.error.detail or job.error.title) if job.error else ("", "")
        return Outcome(name=self._path.name, state=job.status, document_id=document_id, code=code, reason=reason)

    def _show_events(self, job_id: str) -> None:
        for event in self._client.events(job_id):
            if event.event != "progress":
                continue
            with contextlib.suppress(ValidationError):
                step = StepProgress.model_validate_json(event.data)
                self._progress.update(
                    self._task, step=step.step, completed=step.done, total=step.total or None, unit=step.unit
                )
