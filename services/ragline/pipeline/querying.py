"""Question to cited answer."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from math import ceil
from typing import Any

import structlog

from ragline.common.constants import TOKEN_FLUSH_INTERVAL
from ragline.common.errors import NotFound, TransientError
from ragline.common.models import Answer, DocumentState, JobRecord, Passage
from ragline.common.questions import Question
from ragline.pipeline.protocols import Generator, Retriever, Rewriter, Rewriting, StepControl, StepDone, StepOutcome
from ragline.stores.ledger.working import KeptAnswer, WorkLedger

__all__ = ["AnswerStep", "TokenWriter"]

logger = structlog.get_logger(__name__)

_IN_WORK = {DocumentState.ACCEPTED, DocumentState.CONVERTING, DocumentState.SPLITTING, DocumentState.INDEXING}

_CHARACTERS_PER_TOKEN = 4
"""Of English text, by OpenAI's rule of thumb (https://help.openai.com/en/articles/4936856); of others fewer."""

_NEWEST_DOCUMENTS = 200
"""How many of a collection's newest documents are looked at when a question had no answer."""


class AnswerStep:
    """Rewrite, retrieve, generate, report: tokens while they come, then citations and usage.

    Parameters
    ----------
    ledger
        Knows the collection.
    rewriter
        Makes a question with earlier turns one that stands alone.
    retriever
        Finds passages.
    generator
        Writes the answer.
    """

    def __init__(self, *, ledger: WorkLedger, rewriter: Rewriter, retriever: Retriever, generator: Generator) -> None:
        self._ledger = ledger
        self._rewriter = rewriter
        self._retriever = retriever
        self._generator = generator

    def run(self, control: StepControl) -> StepOutcome:
        """Answer the job's question.

        Raises
        ------
        NotFound
            The collection went away after the question was accepted.
        EmbeddingSpaceMismatch
            The collection was embedded with another model.
        TransientError, RejectedError, ProtocolError
            Of a model or store.
        """
        job = control.job
        collection = self._ledger.collection(job.tenant, job.collection)
        if collection is None or collection.dropping:
            raise NotFound("There is no such collection")
        asked = Question.from_params(job.params)
        rewriting = self._rewriter.run(asked) if asked.history else Rewriting(text=asked.text)
        question = replace(asked, text=rewriting.text, history=())
        passages = self._retriever.run(question=question, collection=collection)
        answer = self._write(control, question, passages, rewriting)
        usage = _sum(rewriting.usage, answer.usage)
        events: list[tuple[str, Mapping[str, Any]]]
        events = [("citation", asdict(citation)) for citation in answer.citations]
        events += [("usage", usage)] if usage else []
        control.report(events=events)
        kept = KeptAnswer(
            generation=collection.generation,
            profile=self._generator.fingerprint,
            events=[("token", {"text": answer.text}), *events],
        )
        return StepDone(
            kept=kept if answer.answered else None,
            result={
                "answer": answer.text,
                "answered": answer.answered,
                "citations": [asdict(citation) for citation in answer.citations],
                "truncated": answer.truncated,
                "usage": usage,
                "generation": collection.generation,
                "pending_documents": 0 if answer.answered else self._pending(job),
            },
        )

    def _write(self, control: StepControl, question: Question, passages: Sequence[Passage], asked: Rewriting) -> Answer:
        """Have the answer written; its reader gets it piece by piece."""
        writer = TokenWriter(lambda text: control.report(events=[("token", {"text": text})]))
        try:
            answer = self._generator.run(question=question, passages=passages, on_token=writer.write)
            writer.flush()
        except BaseException:
            # What an answer used its service tells at the end of it; one that breaks off has used something, too.
            read = len(question.text) + sum(len(passage.text) for passage in passages)
            estimate = ceil((read + writer.written) / _CHARACTERS_PER_TOKEN) if writer.written else 0
            self._charge(control.job.tenant, sum(asked.usage.values()) + estimate)
            raise
        return answer

    def _charge(self, tenant: str, tokens: int) -> None:
        if not tokens or not self._generator.asks_model:
            return
        try:
            self._ledger.spend(tenant, tokens)
        except TransientError as error:
            logger.warning("tokens not counted", next="the day's budget lasts longer", tokens=tokens, **error.to_log())

    def _pending(self, job: JobRecord) -> int:
        """Documents that may hold the answer once they are indexed."""
        newest = self._ledger.document_ids(job.tenant, job.collection, newest=_NEWEST_DOCUMENTS)
        return sum(document.state in _IN_WORK for document in self._ledger.documents(newest).values())


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


class TokenWriter:
    """Gathers tokens for a moment before they are written, so that no fsync paces an answer.

    Parameters
    ----------
    send
        Writes text; what it raises stops the generator.
    interval
        Longest time a token waits, except for the model's own pauses.

    Attributes
    ----------
    written
        Characters that were taken so far.
    """

    def __init__(self, send: Callable[[str], None], *, interval: timedelta = TOKEN_FLUSH_INTERVAL) -> None:
        self._send = send
        self._interval_seconds = interval.total_seconds()
        self._parts: list[str] = []
        self._last_flush = 0.0
        self.written = 0

    def flush(self) -> None:
        """Write what is waiting."""
        if self._parts:
            self._send("".join(self._parts))
            self._parts.clear()
        self._last_flush = time.monotonic()

    def write(self, text: str) -> None:
        """Take one piece of text; the first one is written at once."""
        self._parts.append(text)
        self.written += len(text)
        if time.monotonic() - self._last_flush >= self._interval_seconds:
            self.flush()
