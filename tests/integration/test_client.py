"""The Python client on the real service: upload, wait, ask, stream, delete; and the examples of its README."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragline_client import (
    ApiError,
    AsyncRagline,
    CitationEvent,
    DoneEvent,
    InvalidRequest,
    JobFailed,
    NotFound,
    ProgressEvent,
    Ragline,
    TokenEvent,
)
from ragline_client.langchain import RaglineRetriever
from tests.support import pdfs
from tests.support.documented import blocks
from tests.support.stack import Stack

ROOT = Path(__file__).parents[2]
README = ROOT / "clients" / "python" / "README.md"

QUESTION = "What is the code of the vault?"
EXAMPLES = [text for language, text in blocks(README.read_text(encoding="utf-8")) if language == "python"]


def vault() -> bytes:
    return pdfs.text_pdf(["A page about otters.", "The code of the vault is 4711."])


@pytest.fixture
def client(stack: Stack) -> Iterator[Ragline]:
    with Ragline(str(stack.client.base_url)) as client:
        yield client


def test_from_an_upload_to_its_deletion(client: Ragline, tmp_path: Path) -> None:
    path = tmp_path / "vault.pdf"
    path.write_bytes(vault())
    sent: list[tuple[int, int | None]] = []
    seen: list[str] = []

    job = client.upload("client-sync", path, progress=lambda done, total: sent.append((done, total)))
    ended = job.wait(timeout_seconds=60, on_progress=lambda state: seen.append(state.status))

    size = path.stat().st_size
    assert sent[-1] == (size, size)
    assert (ended.status, seen[-1], ended.document_id) == ("succeeded", "succeeded", job.document_id)

    answer = client.ask("client-sync", QUESTION, top_k=2)
    assert answer.answered
    assert "4711" in answer.text
    assert (answer.citations[0].document, answer.citations[0].page) == ("vault.pdf", 2)
    assert answer.citations[0].document_id == job.document_id

    # In other words: an answer that was given before has no progress.
    with client.stream("client-sync", f"Please tell: {QUESTION}", top_k=2) as stream:
        events = list(stream)
    kinds = [type(event) for event in events]
    assert {ProgressEvent, TokenEvent, CitationEvent} <= set(kinds)
    assert events[-1] == DoneEvent(state="succeeded")
    streamed = stream.answer()
    result = client.job(stream.job_id).result
    assert (streamed.text, streamed.answered) == (result["answer"], result["answered"])
    assert [citation.chunk_id for citation in streamed.citations] == [
        cited["chunk_id"] for cited in result["citations"]
    ]

    assert [document.name for document in client.documents("client-sync")] == ["vault.pdf"]
    assert client.delete_document(ended.document_id or "").wait(timeout_seconds=60).status == "succeeded"
    assert client.ask("client-sync", QUESTION).answered is False


def test_the_same_with_asyncio(stack: Stack) -> None:
    async def story() -> None:
        async with AsyncRagline(str(stack.client.base_url)) as client:
            job = await client.upload("client-async", vault(), name="vault.pdf")
            await job.wait(timeout_seconds=60)
            answer = await client.ask("client-async", QUESTION)
            async with client.stream("client-async", QUESTION) as stream:
                text = [event.text async for event in stream if isinstance(event, TokenEvent)]
                streamed = await stream.answer()
            assert "4711" in answer.text
            assert "".join(text) == streamed.text == answer.text
            assert [document.id async for document in client.documents("client-async")] == [job.document_id]
            await (await client.delete_document(job.document_id or "")).wait(timeout_seconds=60)
            assert (await client.ask("client-async", QUESTION)).answered is False

    asyncio.run(story())


def test_what_happens_in_a_job_can_be_read_again(client: Ragline) -> None:
    job = client.upload("client-events", vault(), name="vault.pdf")

    events = list(job.events())

    assert events[-1] == DoneEvent(state="succeeded")
    steps = [event.step for event in events if isinstance(event, ProgressEvent)]
    assert list(dict.fromkeys(steps)) == ["convert", "split", "index"]
    assert list(job.events()) == events


def test_collections_are_listed_and_verified(client: Ragline) -> None:
    client.upload("client-verify", vault(), name="vault.pdf").wait(timeout_seconds=60)

    assert "client-verify" in [collection.name for collection in client.collections()]
    assert client.collection("client-verify").documents == 1
    assert client.verify("client-verify").wait(timeout_seconds=60).result["consistent"]


def test_a_document_that_cannot_be_read_fails_its_job(client: Ragline) -> None:
    job = client.upload("client-failing", b"%PDF-1.7 this is all", name="broken.pdf")

    with pytest.raises(JobFailed) as failure:
        job.wait(timeout_seconds=60)

    assert (failure.value.code, failure.value.retryable) == ("malformed_pdf", False)
    with pytest.raises(JobFailed) as failure:
        list(job.events())
    assert failure.value.code == "malformed_pdf"


def test_a_document_over_the_limit_is_refused_while_it_is_sent(client: Ragline) -> None:
    with pytest.raises(ApiError) as failure:
        client.upload("client-large", b"%PDF-1.7" + bytes(40 * 2**20), name="large.pdf")

    assert (failure.value.status, failure.value.code) == (413, "too_large")


def test_refusals_are_named(client: Ragline) -> None:
    with pytest.raises(NotFound) as missing:
        client.ask("client-none", QUESTION)
    with pytest.raises(InvalidRequest) as invalid:
        client.ask("client-none", QUESTION, top_k=10**6)

    assert missing.value.request_id
    assert [field.pointer for field in invalid.value.errors] == ["/body/top_k"]


def test_the_retriever_finds_what_the_answer_rests_on(client: Ragline) -> None:
    client.upload("client-langchain", vault(), name="vault.pdf").wait(timeout_seconds=60)

    found = RaglineRetriever(client=client, collection="client-langchain", top_k=1).invoke(QUESTION)

    assert (found[0].metadata["document"], found[0].metadata["page"]) == ("vault.pdf", 2)
    assert "4711" in found[0].page_content


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_readmes_examples_run(stack: Stack) -> None:
    # In their order, each in a process of its own: the later ones ask about documents of the first.
    assert len(EXAMPLES) == 6
    said = [_run(example, stack) for example in EXAMPLES]

    assert "26 weeks" in said[0]
    assert "employee-handbook.pdf, page 19" in said[0]
    assert "60 days" in said[1]
    assert "device-manual.pdf indexed" in said[2]
    assert said[3].strip()
    assert "employee-handbook.pdf 15" in said[4]
    assert "not_found" in said[5]


def _run(example: str, stack: Stack) -> str:
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "clients" / "python" / "src"),
        "RAGLINE_URL": str(stack.client.base_url),
        # The service of the tests asks for none; a key is sent all the same.
        "RAGLINE_API_KEY": "rk_example",
    }
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=90,
        check=False,
    )
    assert ended.returncode == 0, f"{example}\n{ended.stdout}"
    return ended.stdout
