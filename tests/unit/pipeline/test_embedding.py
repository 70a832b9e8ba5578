"""Texts of a caller to vectors."""

import base64
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from ragline.common.errors import ProtocolError
from ragline.common.queues import JobKind
from ragline.pipeline.embedding import EmbedStep
from ragline.pipeline.protocols import EmbeddedBatch, StepDone
from ragline.stores.ledger.claims import ClaimLost
from tests.support.passages import WordEmbedder
from tests.support.steps import ScriptedControl, World, make_job

TEXTS = ["Otters sleep in rafts.", "Herons stand on one leg.", "Otters sleep in rafts."]


class Backwards(WordEmbedder):
    """Gives batches in the wrong order, and counts or not; leaves the first `lost` of them out."""

    def __init__(self, *, tokens: int | None = 4, lost: int = 0) -> None:
        super().__init__(space="test/words-2", dimensions=64)
        self._tokens = tokens
        self._lost = lost
        self.closed = False

    @override
    def stream(
        self, texts: Sequence[str], should_stop: Callable[[], bool] | None = None
    ) -> Generator[EmbeddedBatch, None, None]:
        try:
            for batch in list(super().stream(texts))[self._lost :][::-1]:
                yield replace(batch, tokens=self._tokens)
        finally:
            self.closed = True


def _control(**script: Any) -> ScriptedControl:  # noqa: ANN401 - of `ScriptedControl`
    return World().control(job=make_job(JobKind.EMBED, params={"texts": TEXTS}), **script)


def _embed(embedder: Backwards, control: ScriptedControl) -> dict[str, Any]:
    outcome = EmbedStep(embedder=embedder).run(control)
    assert isinstance(outcome, StepDone)
    result: dict[str, Any] = outcome.result
    return result


def test_vectors_come_in_the_order_of_the_texts() -> None:
    embedder, control = Backwards(), _control()

    result = _embed(embedder, control)

    assert (result["model"], result["dimensions"], result["usage"]) == ("words-2", 64, {"prompt_tokens": 12})
    for text, encoded in zip(TEXTS, result["vectors"], strict=True):
        assert np.array_equal(np.frombuffer(base64.b64decode(encoded), "<f4"), embedder.embed_query(text))
    assert control.progress == [(1, 3, "texts"), (2, 3, "texts"), (3, 3, "texts")]


def test_a_model_that_does_not_count_gives_no_usage() -> None:
    assert "usage" not in _embed(Backwards(tokens=None), _control())


def test_a_caller_who_left_ends_the_work() -> None:
    embedder = Backwards()

    with pytest.raises(ClaimLost):
        _embed(embedder, _control(lost_at=1))
    assert embedder.closed


def test_a_vector_that_is_missing_is_an_error() -> None:
    with pytest.raises(ProtocolError, match="2 vectors for 3 texts"):
        _embed(Backwards(lost=1), _control())
