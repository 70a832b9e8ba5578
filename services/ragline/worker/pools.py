"""How each queue's worker runs its tasks."""

from dataclasses import dataclass

from ragline.common.queues import Queue

__all__ = ["POOLS", "WorkerPool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPool:
    """Celery's pool for one queue.

    Attributes
    ----------
    kind
        ``prefork`` for CPU-bound work, ``threads`` for work that waits.
    concurrency
        Tasks at the same time, unless the environment says otherwise.
    """

    kind: str
    concurrency: int


POOLS: dict[Queue, WorkerPool] = {
    Queue.DEFAULT: WorkerPool(kind="threads", concurrency=4),
    Queue.DOCUMENT: WorkerPool(kind="prefork", concurrency=2),
    Queue.VECTORSTORE: WorkerPool(kind="threads", concurrency=4),
    Queue.RAG: WorkerPool(kind="threads", concurrency=32),
}
"""A rag worker with 32 threads gave 25 answers/s where a prefork pair gave 1.7 (measured): questions wait, they do not
compute. One vectorstore worker has few threads, since Chroma's write rate is its floor."""
