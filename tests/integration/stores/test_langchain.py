"""A program made of LangChain reads the collections that we write."""

from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit
from uuid import uuid4

import chromadb
import pytest
from chromadb.api import ClientAPI
from chromadb.config import Settings
from langchain_chroma import Chroma
from langchain_core.embeddings import Embeddings
from typing_extensions import override

from ragline.common.identifiers import physical_collection
from ragline.stores.chroma import ChromaVectorStore
from ragline.stores.protocols import VectorEntry, scope_of
from tests.support.passages import WordEmbedder

PASSAGES = [
    ("handbook", "employee-handbook.pdf", 7, "Parents get sixteen weeks of paid parental leave."),
    ("handbook", "employee-handbook.pdf", 12, "Lunch is served in the canteen from noon."),
    ("handbook", "travel-policy.pdf", 2, "Train tickets are booked by the travel desk."),
    ("manuals", "device-manual.pdf", 3, "Paid parental leave is nothing a device knows of."),
]


class _WordEmbeddings(Embeddings):
    """Our embedder as LangChain takes one."""

    def __init__(self, embedder: WordEmbedder) -> None:
        self._embedder = embedder

    @override
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    @override
    def embed_query(self, text: str) -> list[float]:
        vector: list[float] = self._embedder.embed_query(text).tolist()
        return vector


@pytest.fixture
def embedder() -> WordEmbedder:
    return WordEmbedder(dimensions=512)


@pytest.fixture
def client(chroma_url: str) -> Iterator[ClientAPI]:
    address = urlsplit(chroma_url)
    client = chromadb.HttpClient(
        host=address.hostname or "", port=address.port or 80, settings=Settings(anonymized_telemetry=False)
    )
    yield client
    # Neither of the two closes its connections itself.
    client._server._session.close()  # type: ignore[attr-defined]
    client._admin_client._server._session.close()  # type: ignore[attr-defined]


@pytest.fixture
def physical(chroma_url: str, client: ClientAPI, embedder: WordEmbedder) -> Iterator[str]:
    """A collection with the passages, written by us."""
    name = physical_collection(f"test/words-{uuid4().hex}")
    with closing(ChromaVectorStore(chroma_url)) as store:
        store.add(name, [_entry(embedder, number) for number in range(len(PASSAGES))])
    yield name
    client.delete_collection(name)


@pytest.fixture
def reader(client: ClientAPI, physical: str, embedder: WordEmbedder) -> Chroma:
    return Chroma(client=client, collection_name=physical, embedding_function=_WordEmbeddings(embedder))


def _entry(embedder: WordEmbedder, number: int) -> VectorEntry:
    collection, source, page, text = PASSAGES[number]
    return VectorEntry(
        id=f"chunk-{number}",
        vector=embedder.embed_query(text),
        text=text,
        scope=scope_of("default", collection),
        document_id=f"doc_{source}",
        source=source,
        page=page,
    )


def test_search_finds_the_passage_with_its_source(reader: Chroma) -> None:
    found = reader.similarity_search("How much paid parental leave?", k=2, filter={"scope": "default/handbook"})
    assert (found[0].page_content, found[0].id) == (PASSAGES[0][3], "chunk-0")
    assert found[0].metadata == {
        "scope": "default/handbook",
        "document_id": "doc_employee-handbook.pdf",
        "source": "employee-handbook.pdf",
        "page": 7,
    }


def test_filter_keeps_collections_apart(reader: Chroma) -> None:
    def sources(collection: str) -> set[str]:
        found = reader.similarity_search("paid parental leave", k=10, filter={"scope": f"default/{collection}"})
        return {document.metadata["source"] for document in found}

    assert sources("handbook") == {"employee-handbook.pdf", "travel-policy.pdf"}
    assert sources("manuals") == {"device-manual.pdf"}
    assert sources("nothing") == set()


@pytest.mark.filterwarnings("ignore:legacy embedding function config:DeprecationWarning")
def test_relevance_is_the_cosine_similarity(reader: Chroma, embedder: WordEmbedder) -> None:
    """LangChain chooses its scale by the distance that the collection says it uses."""
    question = "How much paid parental leave?"
    cosine = float(embedder.embed_query(question) @ embedder.embed_query(PASSAGES[0][3]))
    ((document, relevance),) = reader.similarity_search_with_relevance_scores(
        question, k=1, filter={"scope": "default/handbook"}
    )
    assert document.id == "chunk-0"
    assert relevance == pytest.approx(cosine, abs=1e-4)


def test_retriever_of_a_chain_finds_the_passage(reader: Chroma) -> None:
    retriever = reader.as_retriever(search_kwargs={"k": 1, "filter": {"scope": "default/handbook"}})
    (document,) = retriever.invoke("Where are train tickets booked?")
    assert (document.metadata["source"], document.metadata["page"]) == ("travel-policy.pdf", 2)


def test_reading_changes_nothing_for_us(chroma_url: str, reader: Chroma, physical: str, embedder: WordEmbedder) -> None:
    reader.similarity_search("lunch", k=1)
    with closing(ChromaVectorStore(chroma_url)) as store:
        hits = store.query(physical, embedder.embed_query("canteen lunch"), scope="default/handbook", limit=1)
    assert [hit.id for hit in hits] == ["chunk-1"]
