import asyncio

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda

from clients.python.tests.conftest import KEY
from clients.python.tests.fake import FakeApi, reply
from ragline_client import AsyncRagline, Ragline
from ragline_client.langchain import RaglineRetriever

QUERY = "POST /v1/collections/papers/queries"
CITED = {
    "document_id": "doc_1",
    "document": "a.pdf",
    "page": 2,
    "start": 10,
    "end": 18,
    "chunk_id": "chunk_1",
    "quote": "Because.",
}
METADATA = {"document": "a.pdf", "document_id": "doc_1", "page": 2, "chunk_id": "chunk_1", "start": 10, "end": 18}


def api_with(*citations: dict[str, object]) -> FakeApi:
    answer = {"job_id": "job_1", "answer": "Because.", "answered": bool(citations), "citations": list(citations)}
    return FakeApi({QUERY: [reply(answer)]})


def retriever(api: FakeApi, top_k: int | None = None) -> RaglineRetriever:
    client = Ragline(api.url, api_key=KEY, transport=api.transport)
    return RaglineRetriever(client=client, collection="papers", filter={"year": 2024}, top_k=top_k)


def test_citations_become_documents() -> None:
    api = api_with(CITED, {**CITED, "score": 0.5, "chunk_id": "chunk_2"})

    found = retriever(api, top_k=3).invoke("Why?")

    assert found == [
        Document(page_content="Because.", metadata=METADATA, id="chunk_1"),
        Document(page_content="Because.", metadata={**METADATA, "chunk_id": "chunk_2", "score": 0.5}, id="chunk_2"),
    ]
    assert api.requests[0].content == b'{"question":"Why?","top_k":3,"filter":{"year":2024}}'


def test_without_evidence_there_are_none() -> None:
    assert retriever(api_with()).invoke("Why?") == []


@pytest.mark.parametrize("own", [True, False])
def test_it_works_in_an_event_loop_with_and_without_a_client_for_it(own: bool) -> None:
    api = api_with(CITED)
    found = retriever(api)

    async def ask() -> list[Document]:
        async with AsyncRagline(api.url, transport=api.transport) as client:
            found.async_client = client if own else None
            return await found.ainvoke("Why?")

    assert [document.page_content for document in asyncio.run(ask())] == ["Because."]
    assert api.sent("Authorization") == [None if own else f"Bearer {KEY}"]


def test_it_is_a_part_of_a_chain() -> None:
    chain = retriever(api_with(CITED)) | RunnableLambda(len)

    assert chain.invoke("Why?") == 1


def test_the_key_is_not_in_its_text() -> None:
    assert KEY not in repr(retriever(api_with()))
