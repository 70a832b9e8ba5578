"""Many uploads in one form: each has an outcome of its own, and no accepted one is kept from its caller."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import pytest

from ragline.api.batches import BatchOutcome, BatchSubmission
from ragline.api.forms import UploadForm
from ragline.api.submissions import DocumentSubmission
from ragline.common.config import ApiConfig
from ragline.common.errors import (
    BacklogFull,
    EmptyUpload,
    InvalidRequest,
    RagError,
    RequestTimeout,
    TooLarge,
    TransientError,
    UnsupportedMediaType,
)
from ragline.common.models import Submission
from ragline.common.trace_context import TraceContext, new_trace
from ragline.stores.ledger.accepting import AcceptLedger, NewDocument
from ragline.stores.objects import ObjectStore
from tests.support.forms import BOUNDARY, FORM_TYPE, form, form_part

PDF = b"%PDF-1.7\n" + b"x" * 3000
LIMIT_BYTES = 4096
AWAY = TransientError("redis", "accept_document", "TimeoutError")


class NotedLedger:
    """Accepts what it is not told to refuse, and notes it."""

    def __init__(self, refuse: Callable[[NewDocument], Exception | None] = lambda _: None) -> None:
        self._refuse = refuse
        self.asked: list[NewDocument] = []

    async def accept_document(self, new: NewDocument, _trace: TraceContext) -> Submission:
        self.asked.append(new)
        if (error := self._refuse(new)) is not None:
            raise error
        return Submission(job_id=f"job_{new.name}", document_id=f"doc_{new.name}")


def _file(name: str, data: bytes = PDF) -> bytes:
    return form_part("file", data, file_name=name)


def _submitted(
    body: bytes, objects: ObjectStore, ledger: NotedLedger, *, then: Exception | None = None, max_files: int = 10
) -> list[BatchOutcome]:
    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 700):
            yield body[at : at + 700]
        if then is not None:
            raise then

    config = ApiConfig(max_upload_bytes=LIMIT_BYTES)
    documents = DocumentSubmission(ledger=cast("AcceptLedger", ledger), objects=objects, config=config)
    batch = BatchSubmission(documents=documents, collection="papers", tenant="t", trace=new_trace())

    async def submit() -> list[BatchOutcome]:
        return await batch.submit(UploadForm(FORM_TYPE, chunks(), max_files=max_files))

    return asyncio.run(submit())


def _kinds(outcomes: list[BatchOutcome]) -> list[tuple[str, type]]:
    return [(done.name, type(done.outcome)) for done in outcomes]


@pytest.fixture(params=["memory", "file"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return ObjectStore("memory:///" if request.param == "memory" else f"file://{tmp_path}/objects")


def test_one_bad_file_does_not_spoil_the_others(objects: ObjectStore) -> None:
    ledger = NotedLedger()
    files = [
        _file("a.pdf"),
        _file("page.pdf", b"<html>" * 1000),
        _file("empty.pdf", b""),
        _file("b.pdf", PDF + b"b"),
        _file("large.pdf", PDF * 2),
        _file("", PDF),
        _file("c.pdf", PDF + b"c"),
    ]

    outcomes = _submitted(form([form_part("metadata", b'{"year": 2024}'), *files]), objects, ledger)

    assert _kinds(outcomes) == [
        ("a.pdf", Submission),
        ("page.pdf", UnsupportedMediaType),
        ("empty.pdf", EmptyUpload),
        ("b.pdf", Submission),
        ("large.pdf", TooLarge),
        ("", InvalidRequest),
        ("c.pdf", Submission),
    ]
    assert [(new.name, objects.get(new.object_key), new.metadata) for new in ledger.asked] == [
        ("a.pdf", PDF, {"year": 2024}),
        ("b.pdf", PDF + b"b", {"year": 2024}),
        ("c.pdf", PDF + b"c", {"year": 2024}),
    ]
    assert len(objects.keys("")) == 3


def test_a_part_that_goes_away_is_not_asked_for_every_file(objects: ObjectStore) -> None:
    ledger = NotedLedger(lambda new: None if new.name in {"0.pdf", "1.pdf"} else AWAY)

    outcomes = _submitted(form([_file(f"{number}.pdf") for number in range(6)]), objects, ledger)

    assert _kinds(outcomes) == [
        ("0.pdf", Submission),
        ("1.pdf", Submission),
        *((f"{number}.pdf", TransientError) for number in range(2, 6)),
    ]
    assert len(ledger.asked) == 3
    # The ledger may still accept the third: it keeps its bytes.
    assert len(objects.keys("")) == 3


def test_a_part_that_is_away_from_the_start_is_the_whole_answer(objects: ObjectStore) -> None:
    ledger = NotedLedger(lambda _: AWAY)

    with pytest.raises(TransientError):
        _submitted(form([_file(f"{number}.pdf") for number in range(6)]), objects, ledger)
    assert len(ledger.asked) == 1


def test_a_refusal_for_now_is_one_files_own(objects: ObjectStore) -> None:
    ledger = NotedLedger(lambda new: BacklogFull("full") if new.name == "0.pdf" else None)

    outcomes = _submitted(form([_file("0.pdf"), _file("1.pdf")]), objects, ledger)

    assert _kinds(outcomes) == [("0.pdf", BacklogFull), ("1.pdf", Submission)]


@pytest.mark.parametrize("within", [True, False], ids=["in-a-file", "between-files"])
@pytest.mark.parametrize("then", [None, RequestTimeout("Nothing came"), TooLarge("The body")], ids=repr)
def test_what_was_accepted_before_the_form_broke_is_told(
    objects: ObjectStore, then: RagError | None, *, within: bool
) -> None:
    broken_off = _file("c.pdf")[:1500] if within else b"--" + BOUNDARY + b"\r\n"
    body = form([_file("a.pdf"), _file("b.pdf", PDF + b"b")], end=broken_off)

    outcomes = _submitted(body, objects, NotedLedger(), then=then)

    kind = InvalidRequest if then is None else type(then)
    assert _kinds(outcomes) == [("a.pdf", Submission), ("b.pdf", Submission), ("c.pdf" if within else "", kind)]
    assert len(objects.keys("")) == 2


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (form([]), InvalidRequest),
        (form([form_part("metadata", b"{}")]), InvalidRequest),
        (form([form_part("metadata", b"[]"), _file("a.pdf")]), InvalidRequest),
        (_file("a.pdf")[:2000], InvalidRequest),
        (form([_file("a.pdf", b"<html>" * 400)], end=b""), InvalidRequest),
        (b"no form", InvalidRequest),
    ],
    ids=["nothing", "metadata-only", "bad-metadata", "broken-off", "broken-after-a-bad-file", "no-form"],
)
def test_a_form_that_is_no_good_is_refused_as_a_whole(
    objects: ObjectStore, body: bytes, error: type[Exception]
) -> None:
    ledger = NotedLedger()

    with pytest.raises(error):
        _submitted(body, objects, ledger)
    assert (objects.keys(""), ledger.asked) == ([], [])


def test_one_file_too_many_costs_only_itself(objects: ObjectStore) -> None:
    outcomes = _submitted(form([_file("a.pdf")] * 4), objects, NotedLedger(), max_files=3)

    assert _kinds(outcomes) == [("a.pdf", Submission)] * 3 + [("", InvalidRequest)]


def test_a_defect_is_no_outcome(objects: ObjectStore) -> None:
    with pytest.raises(KeyError):
        _submitted(form([_file("a.pdf")]), objects, NotedLedger(lambda _: KeyError("x")))
