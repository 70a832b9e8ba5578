"""Bytes are checked while they pass, and nothing stays behind of an upload that was refused."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import cast

import pytest
import structlog
from starlette.requests import ClientDisconnect
from structlog.testing import capture_logs

from ragline.api import submissions
from ragline.api.submissions import DocumentSubmission, Upload, UploadCheck, file_parts
from ragline.common.config import ApiConfig
from ragline.common.errors import (
    EmbeddingSpaceMismatch,
    EmptyUpload,
    InvalidRequest,
    RagError,
    RequestTimeout,
    TooLarge,
    TransientError,
    UnsupportedMediaType,
)
from ragline.common.identifiers import physical_collection
from ragline.common.models import Submission
from ragline.common.trace_context import TraceContext, new_trace
from ragline.stores.ledger.accepting import AcceptLedger, NewDocument
from ragline.stores.objects import ObjectStore

HEADER = b"%PDF-1.7\n"
PDF = HEADER + b"body " * 400
LIMIT_BYTES = 4096


async def _parts(parts: Iterable[bytes], then: Exception | None = None) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if then is not None:
        raise then


def _ones(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def _passed(*parts: bytes, max_bytes: int = LIMIT_BYTES) -> tuple[bytes, UploadCheck]:
    async def collect() -> bytes:
        return b"".join([part async for part in check.pass_on(_parts(parts))])

    check = UploadCheck(max_bytes=max_bytes)
    return asyncio.run(collect()), check


@pytest.mark.parametrize("size", [1, 7, 1023, 1024, 1025, 2009])
def test_the_same_bytes_come_out_however_they_come_in(size: int) -> None:
    data, check = _passed(*(PDF[at : at + size] for at in range(0, len(PDF), size)))

    assert data == PDF
    assert (check.size_bytes, check.sha256) == (len(PDF), hashlib.sha256(PDF).hexdigest())


@pytest.mark.parametrize("at", [0, 1, 900, 1019])
def test_a_header_within_the_first_kilobyte_is_enough(at: int) -> None:
    data = b"\0" * at + PDF

    assert _passed(*_ones(data))[0] == data
    assert _passed(data)[0] == data


@pytest.mark.parametrize("at", [1020, 1024, 2000])
def test_a_later_header_is_none(at: int) -> None:
    for parts in ([b"\0" * at + PDF], _ones(b"\0" * at + PDF)):
        with pytest.raises(UnsupportedMediaType):
            _passed(*parts)


def test_nothing_is_passed_on_before_the_header_was_seen() -> None:
    passed: list[bytes] = []

    async def collect() -> None:
        check = UploadCheck(max_bytes=LIMIT_BYTES)
        async for part in check.pass_on(_parts(_ones(b"<html>" * 300))):
            passed.append(part)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(UnsupportedMediaType):
        asyncio.run(collect())
    assert passed == []


@pytest.mark.parametrize("parts", [[], [b""], [b"", b""]])
def test_no_bytes_are_an_error_of_their_own(parts: list[bytes]) -> None:
    with pytest.raises(EmptyUpload):
        _passed(*parts)


def test_a_short_document_is_passed_on_whole() -> None:
    assert _passed(b"", HEADER, b"")[0] == HEADER


def test_the_limit_is_exact() -> None:
    whole = HEADER + b"x" * (LIMIT_BYTES - len(HEADER))

    assert _passed(whole)[1].size_bytes == LIMIT_BYTES
    for parts in ([whole + b"x"], [whole, b"x"], _ones(whole + b"x")):
        with pytest.raises(TooLarge, match=str(LIMIT_BYTES)):
            _passed(*parts)


def test_a_file_is_read_in_parts_of_a_megabyte() -> None:
    data = io.BytesIO(b"x" * (2**21 + 7))

    async def read(size: int) -> bytes:
        return data.read(size)

    async def collect() -> list[int]:
        return [len(part) async for part in file_parts(read)]

    assert asyncio.run(collect()) == [2**20, 2**20, 7]


class NotedLedger:
    """Answers an upload as told, and notes it."""

    def __init__(self, answer: Submission | BaseException) -> None:
        self._answer = answer
        self.accepted: list[NewDocument] = []

    async def accept_document(self, new: NewDocument, _trace: TraceContext) -> Submission:
        self.accepted.append(new)
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


ACCEPTED = Submission(job_id="job_1", document_id="doc_1")


def _submission(ledger: NotedLedger, objects: ObjectStore) -> DocumentSubmission:
    config = ApiConfig(max_upload_bytes=LIMIT_BYTES, embedder="openai", embedding_model="big")
    return DocumentSubmission(ledger=cast("AcceptLedger", ledger), objects=objects, config=config)


def _submit(
    ledger: NotedLedger, objects: ObjectStore, source: AsyncIterator[bytes], *, name: str = "a.pdf"
) -> Submission:
    submission = _submission(ledger, objects)
    return asyncio.run(
        submission.submit(
            Upload(collection="papers", name=name, source=source, metadata={"year": 2024}),
            tenant="t",
            trace=new_trace(request_id="req"),
        )
    )


@pytest.fixture(params=["memory", "file"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return ObjectStore("memory:///" if request.param == "memory" else f"file://{tmp_path}/objects")


def test_an_accepted_upload_is_stored_and_recorded(objects: ObjectStore) -> None:
    ledger = NotedLedger(ACCEPTED)

    assert _submit(ledger, objects, _parts([PDF]), name="u\u0308ber.pdf") == ACCEPTED

    [new] = ledger.accepted
    assert objects.get(new.object_key) == PDF
    assert (new.tenant, new.collection, new.name) == ("t", "papers", "\u00fcber.pdf")
    assert (new.sha256, new.size_bytes) == (hashlib.sha256(PDF).hexdigest(), len(PDF))
    assert (new.space, new.physical) == ("openai/big", physical_collection("openai/big"))
    assert new.metadata == {"year": 2024}
    assert new.fingerprint == "pdfium:1000:200:openai/big"


def test_no_name_of_a_user_is_part_of_the_key(objects: ObjectStore) -> None:
    ledger = NotedLedger(ACCEPTED)
    for _ in range(2):
        _submit(ledger, objects, _parts([PDF]), name="salaries.pdf")

    first, second = (new.object_key for new in ledger.accepted)
    assert first != second
    assert "salaries" not in first


def test_unchanged_bytes_leave_nothing_behind(objects: ObjectStore) -> None:
    unchanged = Submission(job_id="job_2", document_id="doc_1", unchanged=True)

    assert _submit(NotedLedger(unchanged), objects, _parts([PDF])) == unchanged
    assert objects.keys("") == []


def test_a_ledger_that_refuses_leaves_nothing_behind(objects: ObjectStore) -> None:
    with pytest.raises(EmbeddingSpaceMismatch):
        _submit(NotedLedger(EmbeddingSpaceMismatch("a is not b")), objects, _parts([PDF]))
    assert objects.keys("") == []


@pytest.mark.parametrize(
    "error",
    [TransientError("redis", "accept_document", "TimeoutError"), KeyError("x"), asyncio.CancelledError()],
    ids=repr,
)
def test_a_ledger_that_may_have_accepted_keeps_the_bytes(objects: ObjectStore, error: BaseException) -> None:
    """Redis may run the call after its caller has given up."""
    ledger = NotedLedger(error)

    with pytest.raises(type(error)):
        _submit(ledger, objects, _parts([PDF]))
    assert objects.keys("") == [ledger.accepted[0].object_key]


@pytest.mark.parametrize(
    "answer",
    [Submission(job_id="job_2", document_id="doc_1", unchanged=True), EmbeddingSpaceMismatch("a is not b")],
    ids=["unchanged", "refused"],
)
def test_bytes_that_cannot_be_removed_change_no_answer(
    answer: Submission | RagError, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_key: str) -> None:
        raise TransientError("object store", "delete", "GenericError")

    objects = ObjectStore("memory:///")
    monkeypatch.setattr(objects, "remove_async", away)
    monkeypatch.setattr(submissions, "logger", structlog.get_logger())
    ledger = NotedLedger(answer)

    with capture_logs() as logs:
        if isinstance(answer, RagError):
            with pytest.raises(EmbeddingSpaceMismatch):
                _submit(ledger, objects, _parts([PDF]))
        else:
            assert _submit(ledger, objects, _parts([PDF])) == answer
    assert [(line["event"], line["object_key"], line["log_level"]) for line in logs] == [
        ("unneeded upload not removed", ledger.accepted[0].object_key, "warning")
    ]


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ([b"<html>"], UnsupportedMediaType),
        ([], EmptyUpload),
        ([PDF] * 3, TooLarge),
        ([PDF], ClientDisconnect),
        ([PDF], RequestTimeout),
    ],
    ids=["no-pdf", "empty", "too-large", "client-left", "client-stalled"],
)
def test_bytes_that_are_refused_reach_neither_store(
    objects: ObjectStore, parts: list[bytes], error: type[Exception]
) -> None:
    ledger = NotedLedger(ACCEPTED)
    leaving = error("gone") if error in {ClientDisconnect, RequestTimeout} else None

    with pytest.raises(error):
        _submit(ledger, objects, _parts(parts, then=leaving))
    assert objects.keys("") == []
    assert ledger.accepted == []


@pytest.mark.parametrize(("collection", "name"), [("../x", "a.pdf"), ("papers", ""), ("papers", "a/b.pdf")])
def test_bad_names_are_refused_before_a_byte_is_read(collection: str, name: str) -> None:
    never = _parts([], then=AssertionError("the upload was read"))
    submission = _submission(NotedLedger(ACCEPTED), ObjectStore("memory:///"))

    upload = Upload(collection=collection, name=name, source=never)

    with pytest.raises(InvalidRequest):
        asyncio.run(submission.submit(upload, tenant="t", trace=new_trace()))


def test_a_store_that_is_away_is_a_named_error(tmp_path: Path) -> None:
    objects = ObjectStore(f"file://{tmp_path}/objects")
    (tmp_path / "objects" / "originals").write_text("a file where a folder should be")
    ledger = NotedLedger(ACCEPTED)

    with pytest.raises(RagError) as raised:
        _submit(ledger, objects, _parts([PDF]))
    assert raised.value.retryable
    assert ledger.accepted == []
