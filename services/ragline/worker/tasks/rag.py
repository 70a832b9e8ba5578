"""Tasks of the `rag` queue: answers, and embeddings for callers. I/O-bound, thread pool, always at least one worker."""

from typing import Any

from celery import shared_task

from ragline.pipeline.embedding import EmbedStep
from ragline.pipeline.querying import AnswerStep
from ragline.pipeline.retrievers.dense import DenseRetriever
from ragline.pipeline.visibility import VisibleDocuments
from ragline.worker.base import StepTask
from ragline.worker.context import ProcessContext
from ragline.worker.factory import build_embedder, build_generator, build_rewriter, build_vectors

__all__ = ["embed_texts_task", "query_vectorstore_task"]


def _answer_step(context: ProcessContext) -> AnswerStep:
    retriever = DenseRetriever(
        embedder=context.part(build_embedder),
        vectors=context.part(build_vectors),
        documents=VisibleDocuments(ledger=context.ledger, files=context.files),
    )
    return AnswerStep(
        ledger=context.ledger,
        rewriter=context.part(build_rewriter),
        retriever=retriever,
        generator=context.part(build_generator),
    )


def _embed_step(context: ProcessContext) -> EmbedStep:
    return EmbedStep(embedder=context.part(build_embedder))


@shared_task(name="embed_texts_task", base=StepTask, bind=True)
def embed_texts_task(self: StepTask, message: dict[str, Any]) -> None:
    """Embed a caller's texts."""
    self.run_step(message, _embed_step)


@shared_task(name="query_vectorstore_task", base=StepTask, bind=True)
def query_vectorstore_task(self: StepTask, message: dict[str, Any]) -> None:
    """Answer a question from a collection, with citations."""
    self.run_step(message, _answer_step)
