from collections.abc import Collection, Mapping, Sequence

import pytest

from ragline.common.errors import EmbeddingSpaceMismatch
from ragline.common.models import Chunk, CollectionRecord
from ragline.pipeline.retrievers.dense import DenseRetriever, VisibleDocument
from ragline.stores.protocols import Vector, VectorHit
from tests.support.passages import WordEmbedder

COLLECTION = CollectionRecord(
    tenant="team",
    name="papers",
    generation=3,
    space="test/words",
    physical="physical-1",
    documents=1,
    chunks=1,
    created_at=0,
)


class Hits:
    """A vector store of which only `query` matters; hits come in the given order."""

    def __init__(self, hits: Sequence[VectorHit]) -> None:
        self._hits = list(hits)
        self.limits: list[int] = []
        self.without: list[set[str]] = []
        self.asked: set[tuple[str, str]] = set()

    def query(
        self, physical: str, vector: Vector, *, scope: str, limit: int, without_documents: Collection[str] = ()
    ) -> list[VectorHit]:
        self.limits.append(limit)
        self.without.append(set(without_documents))
        self.asked.add((physical, scope))
        return [hit for hit in self._hits if hit.document_id not in without_documents][:limit]

    def __getattr__(self, name: str) -> object:
        raise AssertionError(name)


class Manifests:
    def __init__(self, documents: Mapping[str, VisibleDocument]) -> None:
        self._documents = documents
        self.asked: list[set[str]] = []

    def visible(self, tenant: str, document_ids: Collection[str]) -> Mapping[str, VisibleDocument]:
        assert tenant == "team"
        self.asked.append(set(document_ids))
        return {key: self._documents[key] for key in document_ids if key in self._documents}


def hits(count: int, *, document_id: str = "doc_a", prefix: str = "c") -> list[VectorHit]:
    return [
        VectorHit(id=f"{prefix}{number}", document_id=document_id, text=f"text {number}", score=1 - number / 1000)
        for number in range(count)
    ]


def document(*chunk_ids: str, name: str = "a.pdf") -> VisibleDocument:
    chunks = {key: Chunk(id=key, page=7, start=100 * index, end=100 * index + 6) for index, key in enumerate(chunk_ids)}
    return VisibleDocument(name=name, chunks=chunks)


def retriever(store: Hits, manifests: Manifests) -> DenseRetriever:
    return DenseRetriever(embedder=WordEmbedder(), vectors=store, documents=manifests)  # type: ignore[arg-type]


def found(store: Hits, manifests: Manifests, top_k: int = 3) -> list[str]:
    passages = retriever(store, manifests).run(question="Why?", collection=COLLECTION, top_k=top_k)
    return [passage.chunk_id for passage in passages]


def test_passage_says_what_the_manifest_says() -> None:
    store, manifests = Hits(hits(2)), Manifests({"doc_a": document("c0", "c1")})
    passages = retriever(store, manifests).run(question="Why?", collection=COLLECTION, top_k=2)
    second = passages[1]
    assert (second.document_id, second.document, second.page, second.start, second.end) == (
        "doc_a",
        "a.pdf",
        7,
        100,
        106,
    )
    assert (second.text, second.score) == ("text 1", 0.999)
    assert store.asked == {("physical-1", "team/papers")}


def test_only_chunks_of_the_visible_version_count() -> None:
    store = Hits([*hits(1, document_id="gone", prefix="x"), *hits(4)])
    assert found(store, Manifests({"doc_a": document("c1", "c3")})) == ["c1", "c3"]


def test_best_come_first_and_no_more_than_asked() -> None:
    store = Hits(hits(10))
    assert found(store, Manifests({"doc_a": document(*(f"c{n}" for n in range(10)))})) == ["c0", "c1", "c2"]
    assert store.limits == [11]


def test_more_are_asked_for_when_hidden_chunks_fill_the_page() -> None:
    store = Hits([*hits(30, prefix="x"), *hits(5)])
    manifests = Manifests({"doc_a": document("c0", "c1", "c2", "c3")})
    assert found(store, manifests) == ["c0", "c1", "c2"]
    assert store.limits == [11, 44]
    assert manifests.asked == [{"doc_a"}], "each document is looked up once"


def test_a_hidden_document_of_any_size_hides_nothing() -> None:
    store = Hits([*hits(50_000, document_id="cancelled", prefix="x"), *hits(5)])
    manifests = Manifests({"doc_a": document("c0", "c1", "c2", "c3")})
    assert found(store, manifests) == ["c0", "c1", "c2"]
    assert (store.limits, store.without) == ([11, 44], [set(), {"cancelled"}])
    assert manifests.asked == [{"cancelled"}, {"doc_a"}]


def test_a_document_that_has_given_all_it_has_hides_nothing() -> None:
    """A version that is being indexed fills the pages, while the visible one is small."""
    near, far = hits(50_000, document_id="doc_b", prefix="b"), hits(5)
    manifests = Manifests({"doc_b": document("b1", name="b.pdf"), "doc_a": document("c0", "c4")})
    store = Hits([*near, *far])
    passages = retriever(store, manifests).run(question="Why?", collection=COLLECTION, top_k=3)
    assert {(passage.chunk_id, passage.document) for passage in passages} == {
        ("c0", "a.pdf"),
        ("b1", "b.pdf"),
        ("c4", "a.pdf"),
    }
    assert [passage.score for passage in passages] == sorted((passage.score for passage in passages), reverse=True)
    assert store.without == [set(), {"doc_b"}]


def test_asking_ends_when_the_store_has_no_more() -> None:
    store = Hits(hits(5))
    assert found(store, Manifests({"doc_a": document("c4")})) == ["c4"]
    assert store.limits == [11]


@pytest.mark.parametrize(
    ("top_k", "limits"), [(3, [11, 44, 176, 704, 2000]), (50, [100, 400, 1600, 2000]), (1500, [2000])]
)
def test_asking_ends_at_the_bound(top_k: int, limits: list[int]) -> None:
    store = Hits(hits(10_000))
    assert found(store, Manifests({"doc_a": document("c9999")}), top_k=top_k) == []
    assert store.limits == limits


def test_empty_collection_asks_for_no_manifest() -> None:
    manifests = Manifests({})
    assert found(Hits([]), manifests) == []
    assert manifests.asked == []


def test_collection_of_another_model_is_refused_before_anything_is_asked() -> None:
    store = Hits(hits(3))
    other = DenseRetriever(
        embedder=WordEmbedder(space="openai/other"),
        vectors=store,  # type: ignore[arg-type]
        documents=Manifests({}),
    )
    with pytest.raises(EmbeddingSpaceMismatch, match=r"test/words.*openai/other"):
        other.run(question="Why?", collection=COLLECTION, top_k=3)
    assert store.limits == []
