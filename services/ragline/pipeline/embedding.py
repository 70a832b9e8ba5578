"""Texts of a caller to vectors."""

import base64
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from ragline.common.errors import ProtocolError
from ragline.pipeline.protocols import Embedder, StepControl, StepDone, StepOutcome
from ragline.stores.protocols import Vector

__all__ = ["EmbedStep"]


class EmbedStep:
    """Embeds texts as questions and chunks are embedded, so that their vectors can be compared with those.

    The step does not hand back in the middle: what is embedded would have to be kept, and somebody waits for it.

    Parameters
    ----------
    embedder
        Of the space that new collections are made in.
    """

    def __init__(self, *, embedder: Embedder) -> None:
        self._embedder = embedder

    def run(self, control: StepControl) -> StepOutcome:
        """Embed the job's texts.

        Returns
        -------
        StepOutcome
            Done, with the model's name, the number of dimensions, each vector as base64 of little-endian float32 in
            the order of the texts, and the usage (``prompt_tokens``) if the model counts.

        Raises
        ------
        TransientError, RejectedError, ProtocolError
            Of the embedding model.
        """
        texts: Sequence[str] = control.job.params["texts"]
        vectors: dict[int, Vector] = {}
        tokens: list[int | None] = []
        with closing(self._embedder.stream(texts)) as batches:
            for batch in batches:
                vectors.update(enumerate(batch.vectors, batch.start))
                tokens.append(batch.tokens)
                # Also asks whether the caller still waits.
                control.report(progress=(len(vectors), len(texts), "texts"))
        if len(vectors) != len(texts):
            raise ProtocolError("embedder", "embed", f"{len(vectors)} vectors for {len(texts)} texts")
        return StepDone(
            result={
                "model": self._embedder.space.partition("/")[2],
                "dimensions": len(vectors[0]) if vectors else 0,
                "vectors": [_encoded(vectors[index]) for index in range(len(texts))],
                **_usage(tokens),
            }
        )


def _encoded(vector: Vector) -> str:
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()


def _usage(tokens: Sequence[int | None]) -> Mapping[str, Any]:
    counted = [count for count in tokens if count is not None]
    return {"usage": {"prompt_tokens": sum(counted)}} if len(counted) == len(tokens) else {}
