"""Every request of the API and what its reply is, without sending anything: both clients send these."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypedDict, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx2

from ragline_client._parsing import parsed
from ragline_client._uploads import Body, Source, document_part
from ragline_client.models import Answer, Collection, Document, Job, Submission

__all__ = [
    "AskOptions",
    "BatchEntry",
    "Call",
    "Page",
    "ask",
    "cancel",
    "collection",
    "collections",
    "delete_collection",
    "delete_document",
    "document",
    "documents",
    "events",
    "following",
    "give_up",
    "job",
    "stream",
    "upload",
    "upload_many",
    "verify",
]

T = TypeVar("T")

_PAGE = {"limit": "100"}
_MAX_PARTS = 20
"""Documents in one batch: all its files are open while it is sent."""

_GIVING_UP_SECONDS = 2.0
"""Longest time that leaving a stream may take."""

_GENERATION_SECONDS = 30.0
"""Longest time the service waits for a generation before it begins to answer."""


class AskOptions(TypedDict, total=False):
    """What shapes an answer; the service's defaults hold for what is left out or None.

    Attributes
    ----------
    top_k
        Passages the answer may rest on.
    filter
        Conditions on the documents' metadata, such as ``{"year": {"gte": 2024}}``.
    model, temperature, max_tokens
        Of the chat model, within the service's bounds.
    min_generation
        The collection's generation the answer has to rest on, from a submission: read your own writes.
    """

    top_k: int | None
    filter: Mapping[str, Any] | None
    model: str | None
    temperature: float | None
    max_tokens: int | None
    min_generation: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request and the meaning of its reply.

    Parameters
    ----------
    hold_seconds
        How long the service may hold the reply back on top of the usual.
    within_seconds
        Time after which the caller is not interested any more; None: the client's own limits hold.
    """

    method: str
    path: str
    parse: Callable[[Any], T]
    params: Mapping[str, str] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    hold_seconds: float = 0.0
    within_seconds: float | None = None

    @property
    def repeatable(self) -> bool:
        """Whether it can be sent a second time."""
        return self.body is None or self.body.repeatable


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Some of many, and where the rest is."""

    items: Sequence[T]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEntry:
    """What became of one document of a batch."""

    name: str
    submission: Submission | None = None
    problem: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    results: tuple[BatchEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Collections:
    items: tuple[Collection, ...] = field(metadata={"member": "collections"})
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Documents:
    items: tuple[Document, ...] = field(metadata={"member": "documents"})
    next: str | None = None


def ask(collection: str, question: str, **options: Any) -> Call[Answer]:  # noqa: ANN401 - AskOptions, checked below
    """An answer in one piece."""
    return Call(**_asking(collection, question, **options), parse=lambda reply: parsed(Answer, reply))


def cancel(job_id: str) -> Call[Job]:
    """A job that is not to go on."""
    return replace(job(job_id), method="DELETE")


def collection(name: str) -> Call[Collection]:
    """One collection."""
    return Call(method="GET", path=_path("collections", name), parse=lambda reply: parsed(Collection, reply))


def collections() -> Call[Page[Collection]]:
    """The first page of all collections."""

    def page(reply: object) -> Page[Collection]:
        read = parsed(_Collections, reply)
        return Page(items=read.items, next=read.next)

    return Call(method="GET", path="/v1/collections", params=_PAGE, parse=page)


def delete_collection(name: str) -> Call[Submission]:
    """A collection that is to go, with all its documents."""
    return Call(method="DELETE", path=_path("collections", name), parse=_submission)


def delete_document(document_id: str) -> Call[Submission]:
    """A document that is to go."""
    return Call(method="DELETE", path=_path("documents", document_id), parse=_submission)


def document(document_id: str) -> Call[Document]:
    """One document."""
    return Call(method="GET", path=_path("documents", document_id), parse=lambda reply: parsed(Document, reply))


def documents(collection: str) -> Call[Page[Document]]:
    """The first page of a collection's documents."""

    def page(reply: object) -> Page[Document]:
        read = parsed(_Documents, reply)
        return Page(items=read.items, next=read.next)

    return Call(method="GET", path=_path("collections", collection, "documents"), params=_PAGE, parse=page)


def events(job_id: str, *, after: str = "") -> Call[None]:
    """A job's events as they come, from its beginning or after the event of this id."""
    headers = {"Last-Event-ID": after} if after else {}
    return Call(method="GET", path=_path("jobs", job_id, "events"), headers=headers, parse=lambda _: None)


def following(call: Call[Page[T]], page: Page[T]) -> Call[Page[T]] | None:
    """The call for the next page. Only the query of its address counts: the key goes nowhere else."""
    return replace(call, params=dict(httpx2.URL(page.next).params)) if page.next else None


def give_up(job_id: str) -> Call[Job]:
    """A job nobody reads to its end; a service that is slow or away is not waited for."""
    return replace(cancel(job_id), within_seconds=_GIVING_UP_SECONDS)


def job(job_id: str, *, wait_seconds: float = 0.0, within_seconds: float | None = None) -> Call[Job]:
    """One job; the reply is held back until it ends, at most so long."""
    return Call(
        method="GET",
        path=_path("jobs", job_id),
        params={"wait": f"{wait_seconds:.3f}"} if wait_seconds else {},
        hold_seconds=wait_seconds,
        within_seconds=within_seconds,
        parse=lambda reply: parsed(Job, reply),
    )


def stream(collection: str, question: str, **options: Any) -> Call[None]:  # noqa: ANN401 - as for `ask`
    """An answer as it comes."""
    return Call(**_asking(collection, question, **options), parse=lambda _: None)


def upload(collection: str, body: Body, idempotency_key: str | None = None) -> Call[Submission]:
    """One document."""
    return Call(
        method="POST",
        path=_path("collections", collection, "documents"),
        body=body,
        headers=_idempotent(idempotency_key),
        parse=_submission,
    )


def upload_many(
    collection: str, paths: Iterable[Source], metadata: Mapping[str, Any] | None
) -> list[Call[Iterable[BatchEntry]]]:
    """Documents in as few requests as it takes.

    Raises
    ------
    ValueError
        Two have the same name: one would replace the other.
    """
    parts = [document_part(path, None) for path in paths]
    names = [part.name for part in parts]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"More than one document is called {', '.join(sorted(twice))}")
    return [
        Call(
            method="POST",
            path=_path("collections", collection, "documents", "batch"),
            body=Body(parts=parts[start : start + _MAX_PARTS], metadata=metadata),
            headers=_idempotent(),
            parse=lambda reply: parsed(_Batch, reply).results,
        )
        for start in range(0, len(parts), _MAX_PARTS)
    ]


def verify(name: str) -> Call[Submission]:
    """A comparison of a collection's stored chunks with what its documents should have."""
    path = _path("collections", name, "verifications")
    return Call(method="POST", path=path, headers=_idempotent(), parse=_submission)


def _asking(collection: str, question: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - as for `ask`
    body = _question(question, **options)
    return {
        "method": "POST",
        "path": _path("collections", collection, "queries"),
        "json": body,
        "headers": _idempotent(),
        "hold_seconds": _GENERATION_SECONDS if "min_generation" in body else 0.0,
    }


def _idempotent(key: str | None = None) -> dict[str, str]:
    """Once for a call: all its tries are one request to the service."""
    return {"Idempotency-Key": key or str(uuid4())}


def _path(*parts: str) -> str:
    if unusable := [part for part in parts if part in {"", ".", ".."}]:
        raise ValueError(f"{unusable[0]!r} is not a name")
    return "/".join(["/v1", *(quote(part, safe="") for part in parts)])


def _question(
    question: str,
    *,
    top_k: int | None = None,
    filter: Mapping[str, Any] | None = None,  # noqa: A002 - the API's word
    model: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    min_generation: int | None = None,
) -> dict[str, Any]:
    body = {
        "question": question,
        "top_k": top_k,
        "filter": filter,
        "model": model,
        "temperature": temperature,
        "max_tokens": max_tokens,
        "min_generation": min_generation,
    }
    return {name: value for name, value in body.items() if value is not None}


def _submission(reply: object) -> Submission:
    return parsed(Submission, reply)
