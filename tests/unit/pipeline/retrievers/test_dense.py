from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest

from ragline.common.errors import EmbeddingSpaceMismatch
from ragline.common.models import Chunk, CollectionRecord
from ragline.common.questions import Question
from ragline.pipeline.retrievers.dense import DenseRetriever, VisibleDocument
from ragline.stores.protocols import EVERY_DOCUMENT, DocumentChoice, Vector, VectorHit
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
        self.within: list[set[str] | None] = []
        self.asked: set[tuple[str, str]] = set()

    def query(
        self, physical: str, vector: Vector, *, scope: str, limit: int, documents: DocumentChoice = EVERY_DOCUMENT
    ) -> list[VectorHit]:
        self.limits.append(limit)
        self.without.append(set(documents.without))
        self.within.append(None if documents.within is None else set(documents.within))
        self.asked.add((physical, scope))
        chosen = [hit for hit in self._hits if hit.document_id not in documents.without]
        return [hit for hit in chosen if documents.within is None or hit.document_id in documents.within][:limit]

    def __getattr__(self, name: str) -> object:
        raise AssertionError(name)


class Manifests:
    def __init__(self, documents: Mapping[str, VisibleDocument]) -> None:
        self._documents = documents
        self.asked: list[set[str]] = []
        self.described: dict[str, Mapping[str, Any]] = {}

    def metadata(self, tenant: str, collection: str) -> Mapping[str, Mapping[str, Any]]:
        assert (tenant, collection) == ("team", "papers")
        return self.described

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


def found(store: Hits, manifests: Manifests, top_k: int = 3, **conditions: Any) -> list[str]:  # noqa: ANN401 - JSON
    passages = retriever(store, manifests).run(
        question=Question(text="Why?", top_k=top_k, filter=conditions), collection=COLLECTION
    )
    return [passage.chunk_id for passage in passages]


def test_passage_says_what_the_manifest_says() -> None:
    store, manifests = Hits(hits(2)), Manifests({"doc_a": document("c0", "c1")})
    passages = retriever(store, manifests).run(question=Question(text="Why?", top_k=2), collection=COLLECTION)
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
    passages = retriever(store, manifests).run(question=Question(text="Why?", top_k=3), collection=COLLECTION)
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
        other.run(question=Question(text="Why?", top_k=3), collection=COLLECTION)
    assert store.limits == []


def crowded(count: int) -> tuple[Hits, Manifests]:
    """Ten thousand chunks of one document, then one chunk of each of many; these are of 2026."""
    rest = [hit for n in range(count) for hit in hits(1, document_id=f"doc_{n}", prefix=f"d{n}-")]
    manifests = Manifests(
        {
            "crowd": document(*(f"x{n}" for n in range(10_000))),
            **{f"doc_{n}": document(f"d{n}-0") for n in range(count)},
        }
    )
    manifests.described = {"crowd": {"year": 1999}, **{f"doc_{n}": {"year": 2026} for n in range(count)}}
    return Hits([*hits(10_000, document_id="crowd", prefix="x"), *rest]), manifests


def test_a_filter_leaves_the_documents_that_meet_it() -> None:
    store, manifests = crowded(2)
    assert found(store, manifests, year=2026) == ["d0-0", "d1-0"]
    assert store.within == [{"doc_0", "doc_1"}]
    assert manifests.asked == [{"doc_0", "doc_1"}], "no manifest of another document is read"


def test_a_filter_that_no_document_meets_asks_nothing() -> None:
    store, manifests = crowded(2)
    assert found(store, manifests, year=1789) == []
    assert (store.limits, manifests.asked) == ([], [])


def test_a_filter_that_many_documents_meet_names_none_of_them() -> None:
    store, manifests = crowded(2001)
    assert found(store, manifests, year=2026) == ["d0-0", "d1-0", "d2-0"]
    assert store.within == [None, None]
    assert store.without == [set(), {"crowd"}], "like a hidden document"


def test_a_filter_may_be_met_by_documents_without_metadata() -> None:
    store, manifests = crowded(2)
    manifests.described = {"crowd": {"draft": True}}
    assert found(store, manifests, draft={"exists": False}) == ["d0-0", "d1-0"]
    assert (store.within, store.without) == ([None], [{"crowd"}])


def test_a_filter_of_many_that_fail_it_names_none_of_them() -> None:
    store, manifests = crowded(2)
    manifests.described = {name: {"draft": True} for name in ("crowd", *(f"other_{n}" for n in range(2000)))}
    assert found(store, manifests, draft={"exists": False}) == ["d0-0", "d1-0"]
    assert store.without == [set(), {"crowd"}]


def test_chosen_documents_that_have_given_all_are_not_asked_again() -> None:
    store = Hits([*hits(1, document_id="small", prefix="s"), *hits(30, prefix="x"), *hits(5)])
    manifests = Manifests({"small": document("s0"), "doc_a": document("c0", "c1", "c2", "c3")})
    manifests.described = {"small": {"year": 2026}, "doc_a": {"year": 2026}}
    assert sorted(found(store, manifests, year=2026)) == ["c0", "c1", "s0"]
    assert store.within == [{"small", "doc_a"}, {"doc_a"}]
