"""Tokens and what they cost."""

import pytest

from ragline.common.measurements import Measurements
from ragline.pipeline import spending
from ragline.pipeline.spending import Prices, TokenMeter
from tests.support.measured import taken


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measurements:
    measurements = Measurements()
    monkeypatch.setattr(spending, "MEASUREMENTS", measurements)
    return measurements


def test_chat_is_counted_and_paid(measured: Measurements) -> None:
    meter = TokenMeter({"gpt": Prices(input=0.15, output=0.6)})
    meter.chatted("gpt", input_tokens=1_000, output_tokens=100)
    assert taken(measured) == {"tokens|gpt|input": 1_000, "tokens|gpt|output": 100, "cost|gpt": 210_000}


def test_embeddings_pay_for_their_input(measured: Measurements) -> None:
    TokenMeter({"embed": Prices(input=0.02, output=0)}).embedded("embed", 5)
    assert taken(measured) == {"tokens|embed|embedding": 5, "cost|embed": 100}


def test_model_without_a_price_costs_nothing_that_we_know_of(measured: Measurements) -> None:
    TokenMeter().chatted("gpt", input_tokens=1, output_tokens=1)
    assert set(taken(measured)) == {"tokens|gpt|input", "tokens|gpt|output"}
