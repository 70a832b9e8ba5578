"""Chunks to vectors: nothing is embedded twice, and a lost claim writes nothing."""

from collections import Counter
from typing import Any

import pytest

from ragline.common.errors import EmbeddingSpaceMismatch, ProtocolError, TransientError
from ragline.pipeline.protocols import StepDone, StepOutcome, StepUnfinished
from ragline.stores.ledger.claims import ClaimLost
from tests.support.steps import DOCUMENT, CountingEmbedder, ScriptedControl, World, make_job

PAGES = ["The vault code is 1111.", "Otters sleep in rafts.", "Herons stand on one leg.", "Moles see little."]
AWAY = TransientError("openai", "embed", "HTTP 503")


@pytest.fixture
def world() -> World:
    return World()


def _index(world: World, control: ScriptedControl | None = None, **script: Any) -> StepOutcome:  # noqa: ANN401 - of `ScriptedControl`
    return world.index_step.run(control or world.control(**script))


def _result(outcome: StepOutcome) -> dict[str, Any]:
    assert isinstance(outcome, StepDone)
    result: dict[str, Any] = outcome.result
    return result


def _version(number: int) -> dict[str, Any]:
    return {"job": make_job(version=number)}


def test_every_chunk_is_stored_with_what_readers_need(world: World) -> None:
    ids = world.split(PAGES)

    result = _result(_index(world))

    assert result == {"document_id": DOCUMENT, "version": 1, "pages": 4, "chunks": 4, "embedded": 4}
    assert world.stored() == set(ids)
    entry = world.vectors.entries()[ids[1]]
    assert (entry.text, entry.page, entry.source) == (PAGES[1], 2, "a.pdf")
    assert (entry.scope, entry.document_id) == ("default/papers", DOCUMENT)


@pytest.mark.parametrize("stop_after", [0, 1, 2])
def test_what_was_handed_back_is_not_embedded_again(world: World, stop_after: int) -> None:
    world.split(PAGES)

    first = _index(world, control := world.control(stop_after=stop_after))

    assert first == StepUnfinished(progressed=True)
    assert control.progress[-1] == (stop_after + 1, 4, "chunks")
    assert "commit" not in world.writes()
    second = _result(_index(world, control := world.control()))
    assert second["embedded"] == 4 - (stop_after + 1)
    assert control.progress[0] == (stop_after + 1, 4, "chunks")
    assert Counter(world.embedder.texts) == Counter(PAGES)


def test_a_budget_that_ends_with_the_work_hands_nothing_back(world: World) -> None:
    world.split(PAGES[:1])

    assert _result(_index(world, stop_after=0))["embedded"] == 1


def test_a_failing_model_keeps_what_it_gave(world: World) -> None:
    world.split(PAGES)
    world.embedder.fails_after, world.embedder.failure = 3, AWAY

    with pytest.raises(TransientError):
        _index(world)
    assert len(world.stored()) == 3
    assert "commit" not in world.writes()

    world.embedder.fails_after = None
    assert _result(_index(world))["embedded"] == 1
    assert Counter(world.embedder.texts) == Counter(PAGES)


def test_a_second_run_embeds_nothing(world: World) -> None:
    world.split(PAGES)
    _index(world)
    stored = world.stored()

    assert _result(_index(world))["embedded"] == 0
    assert (world.stored(), len(world.embedder.texts)) == (stored, 4)


def test_the_commit_comes_after_all_writes_and_before_removals(world: World) -> None:
    world.ingest(PAGES)
    world.split(["New first page.", *PAGES[1:3]], version=2)
    world.journal.clear()

    _index(world, **_version(2))

    writes = world.writes()
    assert writes.index("commit") > max(at for at, verb in enumerate(writes) if verb in {"add", "put"})
    assert writes.index("commit") < writes.index("delete") < writes.index("delete files")
    assert writes[-1] == "forget"


def test_what_was_replaced_is_gone(world: World) -> None:
    world.ingest(PAGES)
    world.split(["A version that never became visible.", "It was handed back."], version=2)
    _index(world, stop_after=0, **_version(2))
    world.split(["A version that is being uploaded."], version=4)
    kept = world.split([PAGES[3], "New last page."], version=3)

    result = _result(_index(world, **_version(3)))

    assert (result["embedded"], world.stored()) == (1, set(kept))
    assert world.ledger.uploads[DOCUMENT].keys() == {3, 4}
    assert {key.split("/")[2] for key in world.objects.keys(f"documents/{DOCUMENT}/")} == {"3", "4"}
    assert [key[-5] for key in world.objects.keys("originals/")] == ["3", "4"]


def test_the_chunks_of_other_documents_stay(world: World) -> None:
    other = world.ingest(PAGES, document_id="doc_2")
    mine = world.ingest(PAGES)
    assert set(mine).isdisjoint(other)
    world.split(["All new."], version=2)

    _index(world, **_version(2))

    assert set(other) < world.stored()


@pytest.mark.parametrize("lost_at", range(1, 12))
def test_a_lost_claim_writes_nothing(world: World, lost_at: int) -> None:
    old = world.ingest(["Replaced.", *PAGES[:2]])
    world.split(["One.", "Two.", "Three.", "Four.", PAGES[0]], version=2)
    world.journal.clear()

    with pytest.raises(ClaimLost):
        _index(world, lost_at=lost_at, **_version(2))

    assert world.after_the_loss() == []
    # Asked at the beginning, twice before each of four writes, after the last one, and before the removals.
    assert world.writes().count("add") == min(max(lost_at - 2, 0) // 2, 4)
    assert ("commit" in world.writes()) == (lost_at == 11)
    assert not world.ledger.fence_held
    assert set(old) <= world.stored()


def test_another_embedding_space_is_refused_before_any_work(world: World) -> None:
    world.split(PAGES)
    world.embedder = CountingEmbedder(space="test/other")
    world.journal.clear()

    with pytest.raises(EmbeddingSpaceMismatch, match=r"test/words.*test/other"):
        _index(world)
    assert (world.journal, world.embedder.texts) == ([], [])


def test_a_collection_that_is_gone_is_an_error_to_alert(world: World) -> None:
    world.ledger.collections.clear()

    with pytest.raises(ProtocolError, match="papers"):
        _index(world)
