"""Jobs about one document that meet: whatever order they take, chunks equal manifests in the end (promise P2)."""

import asyncio
from collections.abc import Iterator

import pytest
import redis.asyncio

from ragline.common.constants import DEFAULT_TENANT
from ragline.common.identifiers import physical_collection
from ragline.common.queues import JobKind
from ragline.common.trace_context import new_trace
from ragline.stores.chroma import ChromaVectorStore
from ragline.stores.ledger.accepting import AcceptLedger, NewJob
from ragline.stores.protocols import scope_of
from tests.support import pdfs
from tests.support.openai_stub import openai_stub
from tests.support.stack import Stack, running_stack
from tests.support.waiting import wait_until

_LONG = pdfs.long_text_pdf(300, 3)
_SHORT = pdfs.text_pdf(["One page only."])


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A service whose embedder costs next to nothing, so that writes to Chroma are what takes time."""
    folder = tmp_path_factory.mktemp("races")
    with openai_stub() as stub:
        settings = {"EMBEDDER": "openai", "OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": stub.url}
        with running_stack(folder, settings) as running:
            yield running


def _consistent(stack: Stack, collection: str) -> bool:
    return bool(stack.verify(collection)["consistent"])


def _state(stack: Stack, document_id: str) -> str:
    return str(stack.client.get(f"/v1/documents/{document_id}").json()["state"])


def _wait_for_index(stack: Stack, document_id: str) -> None:
    def begun() -> bool:
        return _state(stack, document_id) in {"indexing", "indexed"}

    wait_until(begun, timeout_seconds=30, interval_seconds=0.005)


@pytest.mark.parametrize("round_", range(3))
def test_a_return_to_the_old_text_while_it_is_being_removed(stack: Stack, round_: int) -> None:
    collection = f"returning-{round_}"
    stack.ingest(collection, "a.pdf", _LONG)
    short = stack.upload(collection, "a.pdf", _SHORT)
    document = f"/v1/documents/{short['document_id']}"
    wait_until(lambda: stack.client.get(document).json()["version"] == 2, timeout_seconds=30, interval_seconds=0.005)

    job = stack.ingest(collection, "a.pdf", _LONG)

    assert job["status"] == "succeeded"
    report = stack.verify(collection)
    assert report["consistent"], {name: report[f"{name}_count"] for name in ("missing", "extra", "stale")}


def test_deletes_in_the_middle_of_writes_leave_nothing(stack: Stack) -> None:
    uploads = [stack.upload("deleted", f"{number}.pdf", pdfs.long_text_pdf(60, number)) for number in range(6)]
    for upload in uploads:
        _wait_for_index(stack, upload["document_id"])
        stack.client.delete(f"/v1/documents/{upload['document_id']}")

    wait_until(lambda: stack.verify("deleted")["chunks"] == 0, timeout_seconds=60, interval_seconds=0.5)


def test_what_a_cancelled_upload_left_is_cleared_away(stack: Stack) -> None:
    kept = stack.ingest("cancelled", "a.pdf", _SHORT)
    upload = stack.upload("cancelled", "a.pdf", _LONG)
    job = f"/v1/jobs/{upload['job_id']}"
    wait_until(
        lambda: (
            stack.client.get(job).json()["progress"]["unit"] == "chunks"
            and stack.client.get(job).json()["step"] == "index"
        ),
        timeout_seconds=30,
        interval_seconds=0.005,
    )

    stack.client.delete(job)

    assert stack.finished_job(upload["job_id"])["status"] in {"cancelled", "succeeded"}
    wait_until(lambda: _consistent(stack, "cancelled"), timeout_seconds=60, interval_seconds=0.5)
    assert _state(stack, kept["document_id"]) == "indexed"


def test_failed_uploads_leave_one_original(stack: Stack) -> None:
    originals = stack.folder / "objects" / "originals"
    stack.ingest("malformed", "other.pdf", _SHORT)
    before = set(originals.iterdir())

    for number in range(3):
        job = stack.ingest("malformed", "a.pdf", pdfs.truncated_pdf() + bytes([number]))
        assert job["error"]["code"] == "malformed_pdf"

    wait_until(lambda: len(set(originals.iterdir()) - before) == 1, timeout_seconds=30)


def test_a_failing_link_fails_its_job_and_no_worker(stack: Stack) -> None:
    async def accept() -> str:
        async with redis.asyncio.Redis.from_url(stack.redis_url, decode_responses=True) as client:
            # The API refuses it; a worker has to bear it all the same.
            params = {"workflow": "chain", "x": 1, "y": 1, "divisor": 0}
            new = NewJob(tenant=DEFAULT_TENANT, kind=JobKind.WORKFLOW, params=params)
            return (await AcceptLedger(client).accept_job(new, new_trace())).job_id

    for _ in range(6):
        job = stack.finished_job(asyncio.run(accept()))
        assert (job["status"], job["error"]["code"]) == ("failed", "division_by_zero")

    assert stack.finished_task("/tasks/calculate/add", {"x": 2, "y": 3})["result"] == 5


def test_damage_is_found_and_mended_by_the_same_upload(stack: Stack) -> None:
    stack.ingest("damaged", "a.pdf", _LONG)
    physical = physical_collection("openai/text-embedding-3-small")
    store = ChromaVectorStore(stack.chroma_url)
    lost = sorted(store.ids_of_scope(physical, scope_of(DEFAULT_TENANT, "damaged")))[:100]
    store.delete(physical, lost)
    store.close()

    report = stack.verify("damaged")
    assert (report["missing_count"], len(report["damaged"])) == (100, 1)
    job = stack.ingest("damaged", "a.pdf", _LONG)

    assert job["result"]["embedded"] == 100
    assert _consistent(stack, "damaged")
