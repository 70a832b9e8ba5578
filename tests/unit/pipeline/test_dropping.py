"""A collection goes document by document, and ends when none is left."""

from dataclasses import dataclass, field
from typing import Any, cast

from ragline.common.queues import JobKind
from ragline.pipeline.dropping import DropStep
from ragline.pipeline.protocols import StepDone, StepUnfinished
from ragline.stores.ledger.claims import Claim
from ragline.stores.ledger.working import WorkLedger
from tests.support.steps import World, make_job


@dataclass
class Collection:
    """Documents that go when they are told to."""

    documents: list[str]
    told: list[list[str]] = field(default_factory=list)

    def delete_documents(self, _claim: Claim, document_ids: list[str]) -> int:
        self.told.append(document_ids)
        return len(document_ids)

    def document_ids(self, _tenant: str, _collection: str) -> list[str]:
        return list(self.documents)


def _run(collection: Collection, **script: Any) -> object:  # noqa: ANN401 - of `ScriptedControl`
    step = DropStep(ledger=cast("WorkLedger", collection), pause_seconds=0)
    return step.run(World().control(job=make_job(JobKind.DROP, document_id=""), **script))


def test_every_document_is_deleted_in_batches_and_waited_for() -> None:
    collection = Collection([f"doc_{number}" for number in range(250)])
    assert _run(collection) == StepUnfinished(progressed=True)
    assert [len(batch) for batch in collection.told] == [100, 100, 50]
    assert [name for batch in collection.told for name in batch] == collection.documents


def test_an_empty_collection_is_done() -> None:
    assert _run(Collection([])) == StepDone(result={"collection": "papers"})
