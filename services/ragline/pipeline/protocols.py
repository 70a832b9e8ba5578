"""What the parts of the pipeline ask of each other: synchronous, one verb each."""

import collections.abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ragline.common.models import Answer, CollectionRecord, JobRecord, Passage
from ragline.stores.ledger.working import Claim
from ragline.stores.protocols import Vector, Vectors

__all__ = [
    "EmbeddedBatch",
    "Embedder",
    "Generator",
    "PipelineStep",
    "Retriever",
    "StepControl",
    "StepDelegated",
    "StepDone",
    "StepOutcome",
    "StepUnfinished",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedBatch:
    """Vectors of `texts[start : start + len(vectors)]`; unit length."""

    start: int
    vectors: Vectors


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

    def run(self, *, question: str, collection: CollectionRecord, top_k: int) -> list[Passage]:
        """The `top_k` best passages of the collection that are visible now, best first."""


class Generator(Protocol):
    """Question and passages to a cited answer."""

    def run(self, *, question: str, passages: Sequence[Passage], on_token: Callable[[str], None]) -> Answer:
        """Write an answer.

        Parameters
        ----------
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
    """

    result: Any = None


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
