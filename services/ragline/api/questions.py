"""How a question is accepted; all endpoints that ask share it."""

import asyncio
import hashlib
import time
import unicodedata
from dataclasses import dataclass
from datetime import timedelta

import orjson

from ragline.common.config import ApiConfig
from ragline.common.errors import GenerationNotReached, InvalidRequest
from ragline.common.logging import note_job
from ragline.common.models import Submission
from ragline.common.questions import Question
from ragline.common.queues import JobKind
from ragline.common.trace_context import TraceContext
from ragline.stores.ledger.accepting import AcceptLedger, Idempotency, NewJob

__all__ = ["NewQuestion", "QuestionSubmission"]

_GENERATION_WAIT_SECONDS = 30.0
"""Longest wait for a generation: an upload of some pages becomes visible within it, and proxies still hold the line."""

_GENERATION_LOOK_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class NewQuestion:
    """A question to one collection.

    Attributes
    ----------
    min_generation
        The collection must contain what was promised for this generation; is waited for.
    fresh
        No answer that was given before will do.
    """

    question: Question
    tenant: str
    collection: str
    min_generation: int = 0
    fresh: bool = False
    idempotency: Idempotency | None = None


class QuestionSubmission:
    """Accepts questions.

    Parameters
    ----------
    ledger
        Records them.
    config
        The embedding space, and which models and lengths a question may name.
    wait_seconds
        Longest wait for a generation.
    """

    def __init__(
        self, *, ledger: AcceptLedger, config: ApiConfig, wait_seconds: float = _GENERATION_WAIT_SECONDS
    ) -> None:
        self._ledger = ledger
        self._space = config.embedding_space
        self._keep_answers = timedelta(seconds=config.answer_cache_seconds)
        self._max_tokens = config.max_answer_tokens
        self._models = {config.llm_model, *filter(None, (name.strip() for name in config.llm_models.split(",")))}
        self._wait_seconds = wait_seconds

    async def submit(self, new: NewQuestion, trace: TraceContext) -> Submission:
        """Accept a question.

        Raises
        ------
        InvalidRequest
            The model or the length is not allowed.
        NotFound
            The tenant has no such collection.
        EmbeddingSpaceMismatch
            The collection was embedded with another model.
        Conflict
            No upload leads to the generation.
        GenerationNotReached
            The generation did not come in time.
        BacklogFull, BudgetExhausted, IdempotencyKeyReused, Overloaded
            Nothing was recorded.
        """
        question = new.question
        self._check(question)
        if new.min_generation:
            await self._reached(new.tenant, new.collection, new.min_generation)
        # A caller that asks for chance asks for another answer each time.
        keeps = self._keep_answers and not new.fresh and not question.temperature
        job = NewJob(
            tenant=new.tenant,
            kind=JobKind.QUERY,
            params=question.to_params(),
            collection=new.collection,
            space=self._space,
            answer_key=_answer_key(new.collection, question) if keeps else "",
            keep_answer=self._keep_answers,
            idempotency=new.idempotency,
        )
        submission = await self._ledger.accept_job(job, trace)
        note_job(submission.job_id, None)
        return submission

    def _check(self, question: Question) -> None:
        if question.model and question.model not in self._models:
            allowed = ", ".join(sorted(self._models))
            raise InvalidRequest(
                f"There is no model of that name to ask; there is: {allowed}",
                [{"pointer": "/body/model", "detail": f"One of: {allowed}"}],
            )
        if question.max_tokens is not None and question.max_tokens > self._max_tokens:
            detail = f"At most {self._max_tokens}"
            raise InvalidRequest(
                f"An answer has at most {self._max_tokens} tokens", [{"pointer": "/body/max_tokens", "detail": detail}]
            )

    async def _reached(self, tenant: str, collection: str, generation: int) -> None:
        deadline = time.monotonic() + self._wait_seconds
        while not await self._ledger.has_generation(tenant, collection, generation):
            if time.monotonic() > deadline:
                raise GenerationNotReached(f"Uploads up to generation {generation} are still being worked on")
            await asyncio.sleep(_GENERATION_LOOK_SECONDS)


def _answer_key(collection: str, question: Question) -> str:
    """Digest of everything that is asked. What else decides an answer (documents, models, prompt) is kept with it."""
    words = " ".join(unicodedata.normalize("NFC", question.text).split())
    asked = [collection, {**question.to_params(), "question": words}]
    return hashlib.blake2b(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
