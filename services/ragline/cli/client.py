"""The API from a command's point of view: a few calls, and failures as sentences."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, ConfigDict, ValidationError

from ragline.cli.failures import ApiFailure, ApiUnreachable
from ragline.cli.replies import Job, Submission, understood

__all__ = ["RaglineClient"]

_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 90.0
"""Longest silence of the API: a stream has a heartbeat every 15 s, a synchronous query takes at most 60 s."""

_EVENT_PAUSE_SECONDS = 1.0
"""A stream that has been silent for so long has given all that has happened."""

_LONG_POLL_SECONDS = 20
_RETRIES = 5
_LONGEST_PAUSE_SECONDS = 30.0
_BUSY = {httpx2.codes.TOO_MANY_REQUESTS, httpx2.codes.SERVICE_UNAVAILABLE}


class _Problem(BaseModel):
    model_config = ConfigDict(extra="ignore")

    title: str
    code: str
    detail: str = ""
    request_id: str = ""

    @property
    def sentence(self) -> str:
        said = self.title if self.detail in {"", self.title} else f"{self.title}: {self.detail}"
        return f"{said} (code {self.code}, request {self.request_id or 'unknown'})"


class RaglineClient:
    """Calls the API. Threads may share one.

    Parameters
    ----------
    api_key
        Sent with every request when given.
    transport
        Another way to the API, for tests.
    pause
        Waits the given seconds when the API is busy and says for how long.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        transport: httpx2.BaseTransport | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base_url = base_url
        self._pause = pause
        with self._failures():
            self._http = httpx2.Client(
                base_url=base_url,
                headers={"X-API-Key": api_key} if api_key else {},
                timeout=httpx2.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS),
                transport=transport,
                # A proxy that the environment names is for other computers.
                mounts={"all://127.0.0.1": None, "all://localhost": None},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def ask(self, collection: str, question: str, *, top_k: int | None = None) -> dict[str, Any]:
        """The whole answer at once."""
        return self._json("POST", _collection_path(collection, "queries"), json=_question(question, top_k))

    def ask_stream(
        self, collection: str, question: str, *, top_k: int | None = None
    ) -> Iterator[httpx2.ServerSentEvent]:
        """The answer as it comes; before it an event `job` of our own, whose data is the id to ask `why` of."""
        path = _collection_path(collection, "queries")
        with self._failures(), self._http.sse(path, method="POST", json=_question(question, top_k)) as source:
            _check(source.response)
            job_id = source.response.headers.get("Location", "").rpartition("/")[2]
            yield httpx2.ServerSentEvent(event="job", data=job_id)
            yield from source

    def document(self, document_id: str) -> dict[str, Any]:
        """Everything the API says about a document."""
        return self._json("GET", f"/v1/documents/{quote(document_id, safe='')}")

    def events(self, job_id: str) -> Iterator[httpx2.ServerSentEvent]:
        """What happens in a job, from its beginning to its end."""
        with self._failures(), self._http.sse(f"{_job_path(job_id)}/events") as source:
            _check(source.response)
            yield from source

    def events_so_far(self, job_id: str) -> list[httpx2.ServerSentEvent]:
        """What has happened in a job until now."""
        events: list[httpx2.ServerSentEvent] = []
        patience = httpx2.Timeout(_CONNECT_SECONDS, read=_EVENT_PAUSE_SECONDS)
        with self._failures():
            try:
                with self._http.sse(f"{_job_path(job_id)}/events", timeout=patience) as source:
                    _check(source.response)
                    for event in source:
                        events.append(event)  # noqa: PERF402 - what came before the silence counts
            except httpx2.ReadTimeout:
                # All that is there comes at once; then the stream of a job that goes on is silent.
                pass
        return events

    def error_page(self, code: str) -> str:
        """What an error code means and what to do about it; empty when the API does not know it."""
        return self._text(f"/errors/{quote(code, safe='')}") or ""

    def finished(self, job_id: str) -> Job:
        """The job once it has ended."""
        while True:
            reply = self._json("GET", _job_path(job_id), params={"wait": str(_LONG_POLL_SECONDS)})
            job = understood(Job, reply)
            if job.ended:
                return job

    def job(self, job_id: str) -> dict[str, Any]:
        """Everything the API says about a job."""
        return self._json("GET", _job_path(job_id))

    def metrics(self) -> str | None:
        """The API's metrics as Prometheus reads them, or None when it has none."""
        return self._text("/metrics")

    def tasks_info(self) -> dict[str, Any]:
        """Queues and workers."""
        return self._json("GET", "/tasks/info")

    def upload(self, collection: str, path: Path) -> Submission:
        """Send a file; the API takes the work and answers before it is done."""
        with path.open("rb") as file:
            files = {"file": (path.name, file, "application/pdf")}
            reply = self._json("POST", _collection_path(collection, "documents"), files=files)
        return understood(Submission, reply)

    def verify(self, collection: str) -> Submission:
        """Have a collection verified."""
        return understood(Submission, self._json("POST", _collection_path(collection, "verifications")))

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise ApiUnreachable(f"No Ragline API answers at {self.base_url}. Is it running (ragline up)?") from error
        except httpx2.TimeoutException as error:
            raise ApiFailure(f"The API at {self.base_url} was silent for {_SILENCE_SECONDS:g} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ApiFailure(f"The connection to {self.base_url} failed: {error}") from error

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - httpx2's own options
        with self._failures():
            response = self._patiently(method, path, **options)
            _check(response)
        try:
            reply = response.json()
        except ValueError:
            reply = None
        if not isinstance(reply, dict):
            raise ApiFailure(f"{self.base_url} answered {path} with something that is not Ragline's")
        return reply

    def _text(self, path: str) -> str | None:
        with self._failures():
            response = self._patiently("GET", path)
            if response.status_code == httpx2.codes.NOT_FOUND:
                return None
            _check(response)
            return response.text

    def _patiently(self, method: str, path: str, **options: Any) -> httpx2.Response:  # noqa: ANN401 - httpx2's options
        for _ in range(_RETRIES):
            response = self._http.request(method, path, **options)
            wait_seconds = response.headers.get("Retry-After", "")
            if response.status_code not in _BUSY or not wait_seconds.isdigit():
                return response
            self._pause(min(float(wait_seconds), _LONGEST_PAUSE_SECONDS))
        return self._http.request(method, path, **options)


def _check(response: httpx2.Response) -> None:
    if response.is_success:
        return
    try:
        problem = _Problem.model_validate_json(response.read())
    except ValidationError:
        raise ApiFailure(f"{response.request.url} answered {response.status_code} {response.reason_phrase}") from None
    raise ApiFailure(problem.sentence, code=problem.code)


def _collection_path(collection: str, what: str) -> str:
    return f"/v1/collections/{quote(collection, safe='')}/{what}"


def _job_path(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}"


def _question(question: str, top_k: int | None) -> dict[str, object]:
    return {"question": question} | ({"top_k": top_k} if top_k else {})
