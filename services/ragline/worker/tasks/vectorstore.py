"""Tasks of the `vectorstore` queue: the only ones that write to Chroma. I/O-bound, thread pool, few replicas."""

from typing import Any

from celery import shared_task

from ragline.pipeline.cleaning import CleanStep
from ragline.pipeline.deleting import DeleteStep
from ragline.pipeline.dropping import DropStep
from ragline.pipeline.indexing import IndexStep
from ragline.pipeline.removing import Remover
from ragline.worker.base import StepTask
from ragline.worker.context import ProcessContext
from ragline.worker.factory import build_embedder, build_vectors

__all__ = ["clean_document_task", "create_vectorstore_task", "delete_collection_task", "delete_document_task"]


def _index_step(context: ProcessContext) -> IndexStep:
    return IndexStep(
        ledger=context.ledger,
        files=context.files,
        embedder=context.part(build_embedder),
        vectors=context.part(build_vectors),
        remover=context.part(_remover),
    )


def _clean_step(context: ProcessContext) -> CleanStep:
    return CleanStep(ledger=context.ledger, files=context.files, remover=context.part(_remover))


def _delete_step(context: ProcessContext) -> DeleteStep:
    return DeleteStep(ledger=context.ledger, remover=context.part(_remover))


def _drop_step(context: ProcessContext) -> DropStep:
    return DropStep(ledger=context.ledger)


def _remover(context: ProcessContext) -> Remover:
    return Remover(ledger=context.ledger, files=context.files, vectors=context.part(build_vectors))


@shared_task(name="create_vectorstore_task", base=StepTask, bind=True)
def create_vectorstore_task(self: StepTask, message: dict[str, Any]) -> None:
    """Embed new chunks, store them and make the document's version visible."""
    self.run_step(message, _index_step)


@shared_task(name="delete_document_task", base=StepTask, bind=True)
def delete_document_task(self: StepTask, message: dict[str, Any]) -> None:
    """Remove a document's chunks and files."""
    self.run_step(message, _delete_step)


@shared_task(name="delete_collection_task", base=StepTask, bind=True)
def delete_collection_task(self: StepTask, message: dict[str, Any]) -> None:
    """Delete a collection with all its documents."""
    self.run_step(message, _drop_step)


@shared_task(name="clean_document_task", base=StepTask, bind=True)
def clean_document_task(self: StepTask, message: dict[str, Any]) -> None:
    """Clear away what a failed, cancelled or replaced upload left behind."""
    self.run_step(message, _clean_step)
