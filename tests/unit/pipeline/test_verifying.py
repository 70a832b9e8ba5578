"""What is stored against what should be, while everything may be in motion."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ragline.common.errors import ProtocolError
from ragline.common.models import DocumentState
from ragline.common.queues import JobKind
from ragline.pipeline.protocols import StepDone
from ragline.pipeline.verifying import VerifyStep
from tests.support.steps import COLLECTION, DOCUMENT, World, make_document, make_job

PAGES = ["The vault code is 1111.", "Otters sleep in rafts.", "Herons stand on one leg."]
NEWER = ["The vault code is 2222.", PAGES[1]]


@pytest.fixture
def world() -> World:
    world = World()
    world.ingest(PAGES)
    return world


def _report(world: World) -> dict[str, Any]:
    step = VerifyStep(ledger=world.work_ledger, files=world.files, vectors=world.vectors)
    outcome = step.run(world.control(job=make_job(JobKind.VERIFY, document_id="")))
    assert isinstance(outcome, StepDone)
    report: dict[str, Any] = outcome.result
    return report


def _found(world: World) -> dict[str, list[str]]:
    report = _report(world)
    found = {name: report[name] for name in ("missing", "extra", "stale")}
    assert {name: report[f"{name}_count"] for name in found} == {name: len(ids) for name, ids in found.items()}
    assert report["consistent"] == (not any(found.values()))
    return {name: ids for name, ids in found.items() if ids}


def test_what_was_ingested_is_consistent(world: World) -> None:
    world.ingest(PAGES, document_id="doc_2")

    assert _found(world) == {}
    report = _report(world)
    assert (report["documents"], report["chunks"]) == (2, 6)
    assert world.writes() == []


def test_missing_extra_and_stale_are_told_apart(world: World) -> None:
    world.ingest(["Old.", "Kept."], document_id="doc_2")
    stale = world.stored()
    world.split(["Kept.", "New."], version=2, document_id="doc_2")
    world.ledger.records["doc_2"] = make_document(id="doc_2", version=2)
    extra = world.ingest(["Of a document that nobody knows."], document_id="doc_3")
    del world.ledger.records["doc_3"]
    missing = [chunk.id for chunk in world.files.manifest("doc_2", 2).chunks if chunk.id not in stale]
    kept = {chunk.id for chunk in world.files.manifest("doc_2", 2).chunks} | set(extra)
    old = stale - kept - {chunk.id for chunk in world.files.manifest(DOCUMENT, 1).chunks}

    assert _found(world) == {"missing": missing, "extra": extra, "stale": sorted(old)}
    assert (len(missing), len(extra), len(old)) == (1, 1, 1)
    # The next upload mends what is missing, cleaning removes what is stale.
    assert ("mark", (["doc_2"], ["doc_2"])) in world.journal


def test_a_lost_chunk_is_missing(world: World) -> None:
    lost = min(world.stored())
    world.vectors.delete(COLLECTION.physical, [lost])

    assert _found(world) == {"missing": [lost]}


@pytest.mark.parametrize("state", [DocumentState.FAILED, DocumentState.CANCELLED])
def test_chunks_of_a_version_that_never_became_visible_are_stale(world: World, state: DocumentState) -> None:
    world.ledger.records[DOCUMENT] = make_document(version=0, state=state)

    assert _found(world) == {"stale": sorted(world.stored())}


@pytest.mark.parametrize("state", [DocumentState.INDEXED, DocumentState.FAILED, DocumentState.CANCELLED])
def test_an_older_version_may_be_the_visible_one(world: World, state: DocumentState) -> None:
    world.ledger.records[DOCUMENT] = make_document(version=1, accepted_version=2, state=state)

    assert _found(world) == {}


@pytest.mark.parametrize(
    "state",
    [
        DocumentState.ACCEPTED,
        DocumentState.CONVERTING,
        DocumentState.SPLITTING,
        DocumentState.INDEXING,
        DocumentState.DELETING,
    ],
)
def test_a_document_in_motion_is_left_out(world: World, state: DocumentState) -> None:
    world.ledger.records[DOCUMENT] = make_document(version=0, state=state)

    assert _found(world) == {}
    assert _report(world)["chunks"] == 3


def test_a_version_that_becomes_visible_before_chunks_are_listed_is_left_out(world: World) -> None:
    world.vectors.on_list = lambda: _once(world, lambda: world.ingest(NEWER, version=2))

    assert _found(world) == {}
    assert _found(world) == {}


def test_a_document_that_goes_before_chunks_are_listed_is_not_extra(world: World) -> None:
    world.vectors.on_list = lambda: _once(world, world.ledger.records.clear)

    assert _found(world) == {}


def test_a_document_that_comes_before_chunks_are_listed_is_left_out(world: World) -> None:
    world.vectors.on_list = lambda: _once(world, lambda: world.ingest(NEWER, document_id="doc_2"))

    assert _found(world) == {}


def _listing(world: World, change: Callable[[dict[str, str]], None]) -> None:
    """Let what a listing gives be changed, and the world with it."""
    listed = world.vectors.ids_of_scope

    def ids_of_scope(physical: str, scope: str) -> dict[str, str]:
        found = listed(physical, scope)
        change(found)
        return found

    world.vectors.ids_of_scope = ids_of_scope  # type: ignore[method-assign]


def _drop(found: dict[str, str], ids: Sequence[str]) -> None:
    for chunk_id in ids:
        found.pop(chunk_id, None)


def test_chunks_that_the_listing_skipped_are_not_missing(world: World) -> None:
    skipped = sorted(world.stored())[1:]
    _listing(world, lambda found: _drop(found, skipped))

    assert _found(world) == {}
    assert _report(world)["chunks"] == 3

    world.vectors.delete(COLLECTION.physical, skipped[:1])
    assert _found(world) == {"missing": skipped[:1]}


def test_chunks_that_went_after_they_were_listed_are_neither_extra_nor_stale(world: World) -> None:
    world.ingest(["Of a document that came and went."], document_id="doc_2")
    del world.ledger.records["doc_2"]
    gone = world.stored() - {chunk.id for chunk in world.files.manifest(DOCUMENT, 1).chunks}
    world.split(PAGES[1:], version=2)
    world.ledger.records[DOCUMENT] = make_document(version=2, accepted_version=2)
    kept = {chunk.id for chunk in world.files.manifest(DOCUMENT, 2).chunks}
    stale = (world.stored() - gone - kept).pop()
    assert _found(world) == {"extra": sorted(gone), "stale": [stale]}

    _listing(world, lambda _: world.vectors.delete(COLLECTION.physical, [*gone, stale]))
    assert _found(world) == {}


def test_a_document_that_moves_on_at_the_last_moment_is_left_out(world: World) -> None:
    lost = min(world.stored())
    world.vectors.delete(COLLECTION.physical, [lost])
    looked_up = world.vectors.existing

    def existing(physical: str, ids: Sequence[str]) -> set[str]:
        world.ledger.records[DOCUMENT] = make_document(state=DocumentState.DELETING)
        return looked_up(physical, ids)

    world.vectors.existing = existing  # type: ignore[method-assign]
    assert _found(world) == {}


def test_a_manifest_that_was_replaced_between_two_reads_is_no_error(world: World) -> None:
    stale_read = world.ledger.documents([DOCUMENT])
    world.ingest(NEWER, version=2)
    fresh, answers = world.ledger.documents, [stale_read]

    def documents(ids: list[str]) -> dict[str, Any]:
        return answers.pop() if answers else fresh(ids)

    world.ledger.documents = documents  # type: ignore[method-assign,assignment] # the first answer is an old one

    assert _found(world) == {}


def test_a_manifest_that_is_really_missing_is_an_error(world: World) -> None:
    world.files.delete_version(DOCUMENT, 1)

    with pytest.raises(ProtocolError):
        _report(world)


def test_lists_are_cut_and_counts_complete(world: World) -> None:
    extra = world.ingest([f"Page {number}." for number in range(150)], document_id="doc_2")
    del world.ledger.records["doc_2"]

    report = _report(world)

    assert (report["extra_count"], report["extra"]) == (150, sorted(extra)[:100])
    assert not report["consistent"]


def test_a_collection_that_is_gone_holds_nothing() -> None:
    world = World()
    world.ledger.collections.clear()

    assert (_report(world)["documents"], _report(world)["chunks"], _found(world)) == (0, 0, {})


def _once(world: World, change: Any) -> None:  # noqa: ANN401 - whatever it returns is of no interest
    world.vectors.on_list = lambda: None
    change()
