"""What the parts of the pipeline ask of each other: synchronous, one verb each."""

import collections.abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ragline.common.models import Answer, CollectionRecord, JobRecord, Passage
from ragline.common.questions import Question
from ragline.stores.ledger.claims import Claim
from ragline.stores.ledger.working import KeptAnswer
from ragline.stores.protocols import Vector, Vectors

__all__ = [
    "EmbeddedBatch",
    "Embedder",
    "Generator",
    "PipelineStep",
    "Retriever",
    "Rewriter",
    "Rewriting",
    "StepControl",
    "StepDelegated",
    "StepDone",
    "StepOutcome",
    "StepUnfinished",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedBatch:
    """Vectors of `texts[start : start + len(vectors)]`; unit length.

    Attributes
    ----------
    tokens
        What the model counted; None when it does not tell.
    """

    start: int
    vectors: Vectors
    tokens: int | None = None


class Embedder(Protocol):
    """Texts to vectors of one embedding space."""

    @property
    def space(self) -> str:
        """Name of the embedding space, see `common.identifiers.embedding_space`."""

    def embed_query(self, text: str) -> Vector:
        """The vector of a question, unit length."""

    def warm(self) -> None:
        """Load what the first text would otherwise wait for; asks nothing of a paid service."""

    def stream(
        self, texts: Sequence[str], should_stop: Callable[[], bool] | None = None
    ) -> collections.abc.Generator[EmbeddedBatch, None, None]:
        """Embed texts in batches, maybe several in flight; batches come as they are done, in any order.

        Closing the generator early throws away what is in flight, although it may be paid for: to stop without a
        loss, let `should_stop` say so and take what still comes.

        Parameters
        ----------
        should_stop
            Asked in the consumer's thread after each batch, never before the first one, so that each run gets
            somewhere. Once it says yes no further batch is begun; those that are done or in flight are still yielded,
            and then the generator ends. It is not asked again.

        Raises
        ------
        TransientError, RejectedError, ProtocolError
            Of the model's service; batches already yielded are good.
        """


class Retriever(Protocol):
    """Question to passages."""

    def run(self, *, question: Question, collection: CollectionRecord) -> list[Passage]:
        """The best passages of the collection that are visible now, best first; as many as the question asks for.

        Only passages of documents that meet the question's filter.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriting:
    """A question that needs no earlier turns.

    Attributes
    ----------
    usage
        Tokens it cost: ``prompt_tokens`` and ``completion_tokens``.
    """

    text: str
    usage: Mapping[str, int] = field(default_factory=dict)


class Rewriter(Protocol):
    """Earlier turns and a question to a question that can be understood alone."""

    def run(self, question: Question) -> Rewriting:
        """The question with what its history says; only called when there is one."""


class Generator(Protocol):
    """Question and passages to a cited answer."""

    @property
    def fingerprint(self) -> str:
        """What decides an answer beside question and documents: the kind, the usual model, the prompt's version."""

    @property
    def asks_model(self) -> bool:
        """Whether it uses a chat model, whose tokens count for a tenant's budget."""

    def run(self, *, question: Question, passages: Sequence[Passage], on_token: Callable[[str], None]) -> Answer:
        """Write an answer.

        Parameters
        ----------
        question
            With the parameters of a chat model, which only one of those looks at. Its history is part of its text.
        on_token
            Called with each piece of text as it comes; may raise to stop the work.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone:
    """The step is complete.

    Attributes
    ----------
    result
        What the job's readers get when this was its last step; JSON.
    kept
        The result is an answer that may be given again.
    """

    result: Any = None
    kept: KeptAnswer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepUnfinished:
    """The step stopped early and left a checkpoint.

    Attributes
    ----------
    progressed
        Whether this run did any of the work.
    """

    progressed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDelegated:
    """Somebody else ends the job, with this claim's token."""


StepOutcome = StepDone | StepUnfinished | StepDelegated


class StepControl(Protocol):
    """What a running step knows of its claim."""

    @property
    def claim(self) -> Claim:
        """The right to do this step."""

    @property
    def job(self) -> JobRecord:
        """The job it belongs to."""

    def report(
        self,
        *,
        progress: tuple[int, int, str] | None = None,
        checkpoint: Mapping[str, Any] | None = None,
        events: Sequence[tuple[str, Mapping[str, Any]]] = (),
    ) -> None:
        """Note progress, a checkpoint or events; raises `ClaimLost` when the step is no longer ours."""

    def should_stop(self) -> bool:
        """Whether to store what there is and hand the rest back: budget spent, worker stopping, or claim lost."""


class PipelineStep(Protocol):
    """What a task runs under its claim."""

    def run(self, control: StepControl) -> StepOutcome:
        """Do the work, or as much of it as the budget allows."""
