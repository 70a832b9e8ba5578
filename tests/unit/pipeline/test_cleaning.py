"""What is cleared away after an upload that did not become visible, and what stays."""

import pytest

from ragline.common.models import DocumentState
from ragline.common.queues import JobKind
from ragline.pipeline.cleaning import CleanStep
from ragline.pipeline.protocols import StepDone, StepUnfinished
from tests.support.steps import DOCUMENT, World, make_document, make_job


@pytest.fixture
def world() -> World:
    return World()


def _litter(world: World, state: DocumentState, *, visible: bool = True) -> list[str]:
    """A visible version 1 and a version 2 that ended in the middle of its writes; the ids of version 1's chunks."""
    ids = world.ingest(["Kept page."]) if visible else []
    world.split(["Left over.", "Not begun."], version=2)
    half_way = world.index_step.run(world.control(job=make_job(version=2), stop_after=0))
    assert half_way == StepUnfinished(progressed=True)
    version = 1 if visible else 0
    world.ledger.records[DOCUMENT] = make_document(version=version, accepted_version=2, state=state)
    return ids


def _clean(world: World) -> None:
    step = CleanStep(ledger=world.work_ledger, files=world.files, remover=world.remover)
    assert step.run(world.control(job=make_job(JobKind.CLEAN))) == StepDone()
    assert not world.ledger.fence_held


def test_the_visible_version_stays_and_nothing_else(world: World) -> None:
    kept = _litter(world, DocumentState.INDEXED)

    _clean(world)

    assert world.stored() == set(kept)
    assert world.objects.keys("originals/") == [f"originals/{DOCUMENT}-1.pdf"]
    assert {key.split("/")[2] for key in world.objects.keys("documents/")} == {"1"}


def test_a_cancelled_first_upload_leaves_nothing(world: World) -> None:
    _litter(world, DocumentState.CANCELLED, visible=False)

    _clean(world)

    assert world.stored() == set()
    assert world.objects.keys("") == []


def test_what_became_visible_before_the_fence_was_taken_stays(world: World) -> None:
    _litter(world, DocumentState.CANCELLED, visible=False)

    def upload_again() -> None:
        world.ingest(["Uploaded again."], version=3)

    world.ledger.before_fence = upload_again
    _clean(world)

    manifest = world.files.manifest(DOCUMENT, 3)
    assert world.stored() == {chunk.id for chunk in manifest.chunks}


@pytest.mark.parametrize("dropped", [False, True], ids=["deleted", "deleted with its collection"])
def test_what_a_frozen_worker_wrote_after_the_deletion_is_removed(world: World, *, dropped: bool) -> None:
    _litter(world, DocumentState.DELETED)
    world.ledger.uploads.clear()
    if dropped:
        world.ledger.collections.clear()

    _clean(world)

    assert world.stored() == set()
    assert world.objects.keys("documents/") == []


def test_files_of_a_version_whose_original_is_forgotten_are_removed(world: World) -> None:
    _litter(world, DocumentState.INDEXED)
    _clean(world)
    world.split(["Left over."], version=2)
    world.ledger.uploads[DOCUMENT].pop(2)

    _clean(world)

    assert {key.split("/")[2] for key in world.objects.keys("documents/")} == {"1"}


def test_the_original_of_a_failed_upload_stays_for_a_later_try(world: World) -> None:
    _litter(world, DocumentState.FAILED, visible=False)

    _clean(world)

    assert world.stored() == set()
    assert f"originals/{DOCUMENT}-2.pdf" in world.objects.keys("originals/")


@pytest.mark.parametrize("state", [DocumentState.ACCEPTED, DocumentState.INDEXING, DocumentState.DELETING])
def test_a_document_in_motion_is_left_alone(world: World, state: DocumentState) -> None:
    _litter(world, state)
    before = world.stored(), world.objects.keys("")

    _clean(world)

    assert (world.stored(), world.objects.keys("")) == before
