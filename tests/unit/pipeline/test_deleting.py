"""Removal of documents: in batches, vectors first, and nothing once the claim is lost."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from ragline.common.queues import JobKind
from ragline.pipeline import removing
from ragline.pipeline.deleting import DeleteStep
from ragline.pipeline.protocols import StepDone, StepOutcome, StepUnfinished
from ragline.stores.ledger.claims import ClaimLost
from tests.support.steps import COLLECTION, DOCUMENT, ScriptedControl, World, make_job

PAGES = [
    "The vault code is 1111.",
    "Otters sleep in rafts.",
    "Herons stand on one leg.",
    "Moles see little.",
    "Fifth page.",
]


@pytest.fixture
def world() -> World:
    return World()


def _result(outcome: StepOutcome) -> dict[str, Any]:
    assert isinstance(outcome, StepDone)
    result: dict[str, Any] = outcome.result
    return result


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removing, "_BATCH_CHUNKS", 2)


def _prepared(world: World, **script: Any) -> ScriptedControl:  # noqa: ANN401 - of `ScriptedControl`
    for document_id in (DOCUMENT, "doc_2"):
        world.ingest(PAGES, document_id=document_id)
    return world.control(job=make_job(JobKind.DELETE), **script)


def _run(world: World, control: ScriptedControl) -> StepOutcome:
    return DeleteStep(ledger=world.work_ledger, remover=world.remover).run(control)


def _left(world: World) -> dict[str, int]:
    return dict(Counter(entry.document_id for entry in world.vectors.entries().values()))


def test_chunks_go_first_files_last_and_nothing_of_others(world: World) -> None:
    control = _prepared(world)

    assert _result(_run(world, control)) == {"document_id": DOCUMENT}
    assert not world.ledger.fence_held

    assert _left(world) == {"doc_2": 5}
    assert world.writes() == ["delete"] * 3 + ["delete files"] * 2
    assert all(key.split("/")[-1] != f"{DOCUMENT}-1.pdf" for key in world.objects.keys("originals/"))
    assert world.objects.keys(f"documents/{DOCUMENT}/") == []
    assert len(world.objects.keys("documents/doc_2/")) == 2


def test_it_goes_on_where_it_was_handed_back(world: World) -> None:
    control = _prepared(world, stop_after=1)

    assert _run(world, control) == StepUnfinished(progressed=True)
    assert _left(world) == {DOCUMENT: 1, "doc_2": 5}
    assert world.objects.keys(f"documents/{DOCUMENT}/")
    assert _result(_run(world, replace(control, stop_after=None))) == {"document_id": DOCUMENT}
    assert _left(world) == {"doc_2": 5}


@pytest.mark.parametrize("lost_at", [2, 3, 4])
def test_a_lost_claim_removes_nothing(world: World, lost_at: int) -> None:
    control = _prepared(world, lost_at=lost_at)

    with pytest.raises(ClaimLost):
        _run(world, control)
    assert world.after_the_loss() == []
    # Asked at the beginning and before each batch.
    assert world.writes().count("delete") == lost_at - 2
    assert not world.ledger.fence_held


def test_without_its_collection_all_still_goes(world: World) -> None:
    control = _prepared(world)
    del world.ledger.collections[COLLECTION.name]

    _run(world, control)
    assert DOCUMENT not in _left(world)
    assert world.objects.keys(f"documents/{DOCUMENT}/") == []


def test_a_second_run_finds_nothing_to_do(world: World) -> None:
    control = _prepared(world)
    _run(world, control)

    assert _result(_run(world, control)) == {"document_id": DOCUMENT}
