"""A question with everything that shapes its answer, and its form in a job record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

__all__ = ["Question", "Turn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """An earlier part of the conversation; `role` is ``user`` or ``assistant``."""

    role: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, and how.

    Attributes
    ----------
    top_k
        Most passages the answer may rest on.
    history
        Earlier turns, oldest first: the question is understood in their light.
    filter
        Conditions on the metadata of documents, see `common.metadata`; empty: all documents.
    model
        Chat model; empty: the service's.
    temperature
        Of the chat model, 0 to 2; None: the model's own.
    max_tokens
        Longest answer of the chat model, tokens; None: the model's own.
    """

    text: str
    top_k: int
    history: tuple[Turn, ...] = ()
    filter: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    temperature: float | None = None
    max_tokens: int | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """The question of a job; what an older release did not write has its default."""
        return cls(
            text=params["question"],
            top_k=params["top_k"],
            history=tuple(Turn(role=turn["role"], text=turn["text"]) for turn in params.get("history", ())),
            filter=params.get("filter", {}),
            model=params.get("model", ""),
            temperature=params.get("temperature"),
            max_tokens=params.get("max_tokens"),
        )

    def to_params(self) -> dict[str, Any]:
        """As a job's parameters; JSON."""
        return {
            "question": self.text,
            "top_k": self.top_k,
            "history": [{"role": turn.role, "text": turn.text} for turn in self.history],
            "filter": dict(self.filter),
            "model": self.model,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
