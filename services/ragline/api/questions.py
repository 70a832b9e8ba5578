"""How a question is accepted; the original's endpoints and v1 share it."""

from ragline.common.config import ApiConfig
from ragline.common.queues import JobKind
from ragline.common.telemetry import TraceContext
from ragline.stores.ledger.accepting import AcceptLedger, NewJob

__all__ = ["QuestionSubmission"]


class QuestionSubmission:
    """Accepts questions.

    Parameters
    ----------
    ledger
        Records them.
    config
        The usual number of passages and the embedding space.
    """

    def __init__(self, *, ledger: AcceptLedger, config: ApiConfig) -> None:
        self._ledger = ledger
        self._config = config

    async def submit(
        self, *, tenant: str, collection: str, question: str, top_k: int | None, trace: TraceContext
    ) -> str:
        """Accept a question; answers the id of its job.

        Raises
        ------
        NotFound
            The tenant has no such collection.
        EmbeddingSpaceMismatch
            The collection was embedded with another model.
        """
        new = NewJob(
            tenant=tenant,
            kind=JobKind.QUERY,
            params={"question": question, "top_k": top_k or self._config.retrieval_top_k},
            collection=collection,
            space=self._config.embedding_space,
        )
        return (await self._ledger.accept_job(new, trace)).job_id
