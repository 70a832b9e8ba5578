"""What every `VectorStore` must do, whatever it is made of."""

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pytest

from ragline.common.errors import RejectedError
from ragline.stores.protocols import DocumentChoice, Vector, VectorEntry, VectorStore, scope_of

__all__ = ["HANDBOOK", "VectorStoreContract", "direction", "make_entries", "make_entry"]

HANDBOOK = scope_of("default", "handbook")

_LISTING_PAGE_ENTRIES = 2000
_LOOKUP_BATCH_IDS = 1000

# Nothing here is ASCII letters alone; each has broken some store or other.
_ODD = [
    "Grüße, 世界, שלום, 🏳️‍🌈",
    "a\u0301 is not \u00e1",
    "quotes ' \" ` and \\ backslashes",
    "'; DROP TABLE embeddings; --",
    "100 % _ * ? [a-z]",
    "$ne {'$or': []}",
    " leading and trailing ",
    "tab\tand\nlines\r\n",
    "nul\x00 and \x7f",
    "\U0010ffff\ufeff\u202e",
    "x" * 8000,
]


def direction(degrees: float) -> Vector:
    """A unit vector in the plane; two of them have the cosine of the angle between them as similarity."""
    radians = math.radians(degrees)
    return np.array([math.cos(radians), math.sin(radians)], np.float32)


def make_entry(
    entry_id: str, degrees: float = 0, *, text: str = "text", scope: str = HANDBOOK, document_id: str = "doc_1"
) -> VectorEntry:
    """An entry in the plane."""
    return VectorEntry(
        id=entry_id,
        vector=direction(degrees),
        text=text,
        scope=scope,
        document_id=document_id,
        source="handbook.pdf",
        page=1,
    )


def make_entries(count: int, *, prefix: str = "entry", document_id: str = "doc_1") -> list[VectorEntry]:
    """Entries spread over the plane, ids ``prefix-0`` and so on."""
    return [make_entry(f"{prefix}-{number}", 360 * number / count, document_id=document_id) for number in range(count)]


def _ids(entries: Sequence[VectorEntry]) -> set[str]:
    return {entry.id for entry in entries}


class VectorStoreContract:
    """Tests; a subclass gives the fixtures `store`, and `physical`: the name of a collection that does not exist."""

    def test_nearest_entry_comes_first(self, store: VectorStore, physical: str) -> None:
        store.add(physical, [make_entry(str(degrees), degrees, text=f"at {degrees}") for degrees in (180, 60, 0, 90)])
        hits = store.query(physical, direction(0), scope=HANDBOOK, limit=10)
        assert [hit.text for hit in hits] == ["at 0", "at 60", "at 90", "at 180"]
        assert [hit.id for hit in hits] == ["0", "60", "90", "180"]

    def test_score_is_cosine_mapped_to_unit_interval(self, store: VectorStore, physical: str) -> None:
        store.add(physical, [make_entry(str(degrees), degrees) for degrees in (0, 60, 90, 120, 180)])
        scores = [hit.score for hit in store.query(physical, direction(0), scope=HANDBOOK, limit=10)]
        assert scores == pytest.approx([1, 0.75, 0.5, 0.25, 0], abs=1e-4)

    def test_score_does_not_leave_its_range_by_rounding(self, store: VectorStore, physical: str) -> None:
        vectors = np.random.default_rng(7).normal(size=(60, 384)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        store.add(physical, [replace(make_entry(str(number)), vector=vector) for number, vector in enumerate(vectors)])
        for number, vector in enumerate(vectors):
            (same,) = store.query(physical, vector, scope=HANDBOOK, limit=1)
            opposite = store.query(physical, -vector, scope=HANDBOOK, limit=60)[-1]
            assert same.id == opposite.id == str(number)
            assert 0.999 < same.score <= 1
            assert 0 <= opposite.score < 0.001

    def test_hit_tells_its_document(self, store: VectorStore, physical: str) -> None:
        store.add(physical, [make_entry("a", 0, document_id="doc_1"), make_entry("b", 90, document_id="doc_2")])
        hits = store.query(physical, direction(0), scope=HANDBOOK, limit=2)
        assert [(hit.id, hit.document_id) for hit in hits] == [("a", "doc_1"), ("b", "doc_2")]

    def test_limit_is_respected(self, store: VectorStore, physical: str) -> None:
        store.add(physical, make_entries(12))
        for limit in (1, 5, 11, 12, 400):
            assert len(store.query(physical, direction(0), scope=HANDBOOK, limit=limit)) == min(limit, 12)

    def test_scopes_never_mix(self, store: VectorStore, physical: str) -> None:
        scopes = ["default/handbook", "default/Handbook", "default/handboo", "other/handbook", "default/handbook-2"]
        store.add(physical, [make_entry(f"{scope}-{n}", n, scope=scope) for scope in scopes for n in range(3)])
        for scope in scopes:
            expected = {f"{scope}-{n}" for n in range(3)}
            assert {hit.id for hit in store.query(physical, direction(0), scope=scope, limit=50)} == expected
            assert store.ids_of_scope(physical, scope).keys() == expected
        assert store.query(physical, direction(0), scope="default", limit=50) == []
        assert store.ids_of_scope(physical, "default/%") == {}

    def test_nearer_entries_of_another_scope_take_no_place(self, store: VectorStore, physical: str) -> None:
        crowd = [make_entry(f"crowd-{n}", n / 1000, scope="default/other") for n in range(300)]
        store.add(physical, [*crowd, make_entry("far", 170)])
        assert [hit.id for hit in store.query(physical, direction(0), scope=HANDBOOK, limit=3)] == ["far"]

    def test_documents_may_be_passed_over(self, store: VectorStore, physical: str) -> None:
        crowd = [make_entry(f"hidden-{n}", n / 1000, document_id=f"doc_{n % 2}") for n in range(300)]
        shown = [make_entry("far", 90, document_id="doc_2"), make_entry("farther", 170, document_id="doc_3")]
        store.add(physical, [*crowd, *shown, make_entry("other", scope="default/other", document_id="doc_4")])

        def ids(hidden: Collection[str], limit: int) -> list[str]:
            hits = store.query(
                physical, direction(0), scope=HANDBOOK, limit=limit, documents=DocumentChoice(without=hidden)
            )
            return [hit.id for hit in hits]

        assert ids({"doc_0", "doc_1"}, 2) == ids(["doc_1", "doc_0", "unknown"], 50) == ["far", "farther"]
        assert ids({"doc_0", "doc_1", "doc_2"}, 50) == ["farther"]
        assert ids({"doc_0", "doc_1", "doc_2", "doc_3"}, 50) == []
        assert ids(set(), 400) == ids({"unknown"}, 400)
        assert len(ids(set(), 400)) == 302
        assert ids([f"doc_{n}" for n in range(2000) if n != 3], 50) == ["farther"]

    def test_documents_may_be_chosen(self, store: VectorStore, physical: str) -> None:
        crowd = [make_entry(f"near-{n}", n / 1000, document_id=f"doc_{n % 2}") for n in range(300)]
        chosen = [make_entry("far", 90, document_id="doc_2"), make_entry("farther", 170, document_id="doc_3")]
        store.add(physical, [*crowd, *chosen, make_entry("other", scope="default/other", document_id="doc_2")])

        def ids(within: Collection[str] | None, limit: int, *, without: Collection[str] = ()) -> list[str]:
            choice = DocumentChoice(within=within, without=without)
            return [
                hit.id for hit in store.query(physical, direction(0), scope=HANDBOOK, limit=limit, documents=choice)
            ]

        assert ids({"doc_2", "doc_3"}, 2) == ids(["doc_3", "doc_2", "unknown"], 50) == ["far", "farther"]
        assert ids({"doc_3"}, 50) == ids({"doc_2", "doc_3"}, 50, without=["doc_2"]) == ["farther"]
        assert ids({"unknown"}, 50) == ids(set(), 50) == []
        assert len(ids(None, 400)) == 302
        assert ids([f"doc_{n}" for n in range(2000) if n not in {0, 1}], 50) == ["far", "farther"]

    def test_physical_collections_never_mix(self, store: VectorStore, physical: str) -> None:
        store.add(physical, [make_entry("here")])
        assert store.existing(f"{physical}-2", ["here"]) == set()
        assert store.query(f"{physical}-2", direction(0), scope=HANDBOOK, limit=3) == []

    def test_known_id_stays_as_it_is(self, store: VectorStore, physical: str) -> None:
        store.add(physical, [make_entry("a", 0, text="first")])
        later = make_entry("a", 90, text="second", scope="default/other", document_id="doc_2")
        store.add(physical, [later, make_entry("b", 180, text="new")])
        hits = store.query(physical, direction(0), scope=HANDBOOK, limit=5)
        assert [(hit.id, hit.text, hit.document_id) for hit in hits] == [("a", "first", "doc_1"), ("b", "new", "doc_1")]
        assert hits[0].score == pytest.approx(1)
        assert store.ids_of_scope(physical, "default/other") == {}

    def test_first_of_two_entries_with_one_id_counts(self, store: VectorStore, physical: str) -> None:
        store.add(physical, [make_entry("a", text="first"), make_entry("b"), make_entry("a", text="second")])
        assert store.existing(physical, ["a", "b"]) == {"a", "b"}
        texts = {hit.id: hit.text for hit in store.query(physical, direction(0), scope=HANDBOOK, limit=5)}
        assert texts == {"a": "first", "b": "text"}

    def test_adding_nothing_does_nothing(self, store: VectorStore, physical: str) -> None:
        store.add(physical, [])
        assert store.query(physical, direction(0), scope=HANDBOOK, limit=3) == []
        assert store.ids_of_scope(physical, HANDBOOK) == {}
        store.add(physical, [make_entry("a")])
        store.add(physical, [])
        assert store.ids_of_scope(physical, HANDBOOK) == {"a": "doc_1"}

    def test_deleted_entry_is_gone_and_may_come_back(self, store: VectorStore, physical: str) -> None:
        store.add(physical, [make_entry("a", text="old"), make_entry("b", 90)])
        store.delete(physical, ["a"])
        assert store.existing(physical, ["a", "b"]) == {"b"}
        assert [hit.id for hit in store.query(physical, direction(0), scope=HANDBOOK, limit=5)] == ["b"]
        assert store.ids_of_document(physical, "doc_1") == {"b"}
        store.add(physical, [make_entry("a", text="new")])
        assert store.query(physical, direction(0), scope=HANDBOOK, limit=1)[0].text == "new"

    def test_unknown_and_repeated_ids_are_deleted_without_complaint(self, store: VectorStore, physical: str) -> None:
        store.add(physical, [make_entry("a"), make_entry("b")])
        store.delete(physical, (entry_id for entry_id in ["a", "unknown", "a", "ünknown"]))
        store.delete(physical, ["a"])
        store.delete(physical, [])
        assert store.existing(physical, ["a", "b", "unknown"]) == {"b"}

    def test_emptied_collection_gives_nothing(self, store: VectorStore, physical: str) -> None:
        store.add(physical, [make_entry("a")])
        store.delete(physical, ["a"])
        assert store.query(physical, direction(0), scope=HANDBOOK, limit=3) == []
        assert store.ids_of_scope(physical, HANDBOOK) == {}

    def test_collection_that_does_not_exist_gives_nothing(self, store: VectorStore, physical: str) -> None:
        assert store.query(physical, direction(0), scope=HANDBOOK, limit=3) == []
        assert store.existing(physical, ["a"]) == set()
        assert store.ids_of_document(physical, "doc_1") == set()
        assert store.ids_of_scope(physical, HANDBOOK) == {}
        store.delete(physical, ["a"])

    def test_existing_takes_many_ids(self, store: VectorStore, physical: str) -> None:
        entries = make_entries(_LOOKUP_BATCH_IDS + 200)
        store.add(physical, entries)
        asked = [f"{kind}-{number}" for number in range(len(entries)) for kind in ("entry", "unknown")]
        assert store.existing(physical, asked) == _ids(entries)
        assert store.existing(physical, ["entry-1", "entry-1", "unknown"]) == {"entry-1"}
        assert store.existing(physical, []) == set()

    def test_listing_goes_beyond_one_page(self, store: VectorStore, physical: str) -> None:
        full_page = make_entries(_LISTING_PAGE_ENTRIES, prefix="full", document_id="doc_full")
        one_more = make_entries(1, prefix="more", document_id="doc_more")
        store.add(physical, [*full_page, *one_more, make_entry("other", scope="default/other")])
        assert store.ids_of_document(physical, "doc_full") == _ids(full_page)
        assert store.ids_of_document(physical, "doc_more") == {"more-0"}
        assert store.ids_of_document(physical, "doc") == set()
        expected = {**dict.fromkeys(_ids(full_page), "doc_full"), "more-0": "doc_more"}
        assert store.ids_of_scope(physical, HANDBOOK) == expected

    def test_entry_of_another_dimension_is_refused(self, store: VectorStore, physical: str) -> None:
        store.add(physical, [make_entry("a")])
        with pytest.raises(RejectedError):
            store.add(physical, [_solid("solid")])
        with pytest.raises(RejectedError):
            store.add(physical, [make_entry("b"), _solid("solid")])
        assert store.ids_of_scope(physical, HANDBOOK) == {"a": "doc_1"}

    def test_mixed_dimensions_are_refused_together(self, store: VectorStore, physical: str) -> None:
        with pytest.raises(RejectedError):
            store.add(physical, [make_entry("a"), _solid("solid")])
        assert store.existing(physical, ["a", "solid"]) == set()

    def test_question_of_another_dimension_is_refused(self, store: VectorStore, physical: str) -> None:
        store.add(physical, [make_entry("a")])
        with pytest.raises(RejectedError):
            store.query(physical, _solid("solid").vector, scope=HANDBOOK, limit=3)

    def test_odd_texts_are_kept(self, store: VectorStore, physical: str) -> None:
        store.add(physical, [make_entry(str(number), number, text=text) for number, text in enumerate(["", *_ODD])])
        hits = store.query(physical, direction(0), scope=HANDBOOK, limit=50)
        assert [hit.text for hit in hits] == ["", *_ODD]

    def test_odd_names_are_kept(self, store: VectorStore, physical: str) -> None:
        names = [name[:200] for name in _ODD]
        store.add(physical, [make_entry(f"id {name}", scope=name, document_id=f"doc {name}") for name in names])
        assert store.existing(physical, [f"id {name}" for name in names]) == {f"id {name}" for name in names}
        for name in names:
            assert store.ids_of_scope(physical, name) == {f"id {name}": f"doc {name}"}
            assert store.ids_of_document(physical, f"doc {name}") == {f"id {name}"}
            (hit,) = store.query(physical, direction(0), scope=name, limit=5)
            assert (hit.id, hit.document_id) == (f"id {name}", f"doc {name}")
        store.delete(physical, [f"id {name}" for name in names])
        assert store.existing(physical, [f"id {name}" for name in names]) == set()


def _solid(entry_id: str) -> VectorEntry:
    """An entry with one dimension more."""
    return replace(make_entry(entry_id), vector=np.array([1, 0, 0], np.float32))
