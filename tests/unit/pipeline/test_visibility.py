"""Which versions answer questions, and what of them is remembered."""

from collections.abc import Sequence

import pytest

from ragline.common.errors import ProtocolError
from ragline.common.models import DocumentRecord
from ragline.pipeline import visibility
from ragline.pipeline.visibility import VisibleDocuments
from tests.support.steps import DOCUMENT, World, make_document

PAGES = ["The vault code is 1111.", "Otters sleep in rafts.", "Herons stand on one leg."]


@pytest.fixture
def world() -> World:
    world = World()
    world.ingest(PAGES)
    return world


def _documents(world: World) -> VisibleDocuments:
    return VisibleDocuments(ledger=world.work_ledger, files=world.files)


def _seen(documents: VisibleDocuments, *document_ids: str) -> dict[str, set[str]]:
    visible = documents.visible("default", document_ids or (DOCUMENT,))
    return {document_id: set(document.chunks) for document_id, document in visible.items()}


def _reads(world: World) -> int:
    return sum(verb == "get" for verb, _ in world.journal)


def _answer_first(world: World, *answers: dict[str, DocumentRecord]) -> None:
    """Let the ledger give these answers before the true one."""
    fresh, old = world.ledger.documents, list(answers)

    def documents(document_ids: Sequence[str]) -> dict[str, DocumentRecord]:
        return old.pop(0) if old else fresh(document_ids)

    world.ledger.documents = documents  # type: ignore[method-assign] # the first answers are old ones


def test_the_visible_version_is_its_manifest(world: World) -> None:
    visible = _documents(world).visible("default", [DOCUMENT])

    manifest = world.files.manifest(DOCUMENT, 1)
    assert visible[DOCUMENT].name == "a.pdf"
    assert visible[DOCUMENT].chunks == {chunk.id: chunk for chunk in manifest.chunks}


@pytest.mark.parametrize("hidden", [make_document(version=0), make_document(tenant="somebody else")])
def test_what_is_not_visible_is_left_out(world: World, hidden: DocumentRecord) -> None:
    world.ledger.records[DOCUMENT] = hidden

    assert _seen(_documents(world)) == {}
    assert _reads(world) == 0


def test_an_unknown_document_is_left_out(world: World) -> None:
    assert _seen(_documents(world), DOCUMENT, "doc_absent").keys() == {DOCUMENT}


def test_a_manifest_is_read_once(world: World) -> None:
    documents = _documents(world)

    assert _seen(documents) == _seen(documents)
    assert _reads(world) == 1


def test_a_newer_version_is_seen_at_once(world: World) -> None:
    documents = _documents(world)
    before = _seen(documents)[DOCUMENT]
    newer = world.ingest(["All new."], version=2)

    assert _seen(documents) == {DOCUMENT: set(newer)}
    assert before.isdisjoint(newer)


def test_a_version_that_was_replaced_since_it_was_looked_up_is_the_newer_one(world: World) -> None:
    old = world.ledger.documents([DOCUMENT])
    newer = world.ingest(["All new."], version=2)
    _answer_first(world, old)

    assert _seen(_documents(world)) == {DOCUMENT: set(newer)}


@pytest.mark.parametrize("deleted", [make_document(version=0), None])
def test_a_document_that_was_deleted_since_it_was_looked_up_is_left_out(
    world: World, deleted: DocumentRecord | None
) -> None:
    old = world.ledger.documents([DOCUMENT])
    world.files.delete_all(DOCUMENT)
    world.ledger.records = {DOCUMENT: deleted} if deleted else {}
    _answer_first(world, old)

    assert _seen(_documents(world)) == {}


def test_a_manifest_that_is_really_missing_is_an_error(world: World) -> None:
    world.files.delete_version(DOCUMENT, 1)

    with pytest.raises(ProtocolError):
        _seen(_documents(world))


def test_the_longest_unused_manifest_is_forgotten_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visibility, "_CACHED_CHUNKS", 2 * len(PAGES))
    for document_id in ("doc_2", "doc_3"):
        world.ingest(PAGES, document_id=document_id)
    documents = _documents(world)

    def reads(document_id: str) -> int:
        before = _reads(world)
        _seen(documents, document_id)
        return _reads(world) - before

    assert [reads(name) for name in (DOCUMENT, "doc_2", DOCUMENT)] == [1, 1, 0]
    assert [reads(name) for name in ("doc_3", DOCUMENT, "doc_2")] == [1, 0, 1]


def test_one_document_that_is_larger_than_the_memory_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visibility, "_CACHED_CHUNKS", 1)
    documents = _documents(world)

    assert len(_seen(documents)[DOCUMENT]) == len(_seen(documents)[DOCUMENT]) == 3
    assert _reads(world) == 1


def test_forgetting_frees_what_it_says(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visibility, "_CACHED_CHUNKS", len(PAGES))
    documents = _documents(world)
    names = [f"doc_{number}" for number in range(2, 8)]
    for name in names:
        world.ingest(PAGES, document_id=name)
        _seen(documents, name)

    assert documents._cached_chunks == sum(len(chunks) for chunks in documents._cache.values()) == len(PAGES)
