"""What models used and what that cost, for the metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ragline.common.measurements import MEASUREMENTS
from ragline.common.metrics import COST, TOKENS

__all__ = ["Prices", "TokenMeter"]

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What a model costs, USD per million tokens."""

    input: float
    output: float


@dataclass(frozen=True, slots=True)
class TokenMeter:
    """Counts the tokens that a service says it used.

    Attributes
    ----------
    prices
        By model; what others cost is not known and not counted.
    """

    prices: Mapping[str, Prices] = field(default_factory=dict)

    def chatted(self, model: str, *, input_tokens: int, output_tokens: int) -> None:
        """Count one reply of a chat model."""
        MEASUREMENTS.count(TOKENS, model, "input", amount=input_tokens)
        MEASUREMENTS.count(TOKENS, model, "output", amount=output_tokens)
        if model in self.prices:
            price = self.prices[model]
            cost = (input_tokens * price.input + output_tokens * price.output) / _MILLION
            MEASUREMENTS.count(COST, model, amount=cost)

    def embedded(self, model: str, tokens: int) -> None:
        """Count what an embedding model has read."""
        MEASUREMENTS.count(TOKENS, model, "embedding", amount=tokens)
        if model in self.prices:
            MEASUREMENTS.count(COST, model, amount=tokens * self.prices[model].input / _MILLION)
