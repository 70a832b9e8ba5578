"""Passages, and an embedder that counts words, for tests of retrieval and generation."""

import zlib
from collections.abc import Callable, Generator, Sequence

import numpy as np

from ragline.common.models import Passage
from ragline.pipeline.protocols import EmbeddedBatch
from ragline.pipeline.text import content_words
from ragline.stores.protocols import Vector

__all__ = ["WordEmbedder", "make_passage"]


def make_passage(
    text: str, *, document: str = "handbook.pdf", page: int = 1, start: int = 0, score: float = 0.8
) -> Passage:
    """A passage whose ids follow from where it stands."""
    return Passage(
        chunk_id=f"{document}-{page}-{start}",
        document_id=f"doc_{document}",
        document=document,
        page=page,
        start=start,
        end=start + len(text),
        text=text,
        score=score,
    )


class WordEmbedder:
    """An embedder without a model: texts are alike when they share words."""

    def __init__(self, *, space: str = "test/words", dimensions: int = 4096) -> None:
        self._space = space
        self._dimensions = dimensions

    @property
    def space(self) -> str:
        """Name of the embedding space."""
        return self._space

    def embed_query(self, text: str) -> Vector:
        """Counts of words, unit length."""
        vector = np.zeros(self._dimensions, np.float32)
        # The first dimension keeps a text without words away from zero length.
        vector[0] = 0.01
        for word in content_words(text):
            vector[zlib.crc32(word.encode()) % self._dimensions] += 1
        unit: Vector = vector / np.linalg.norm(vector)
        return unit

    def warm(self) -> None:
        """Nothing to load."""

    def stream(
        self, texts: Sequence[str], should_stop: Callable[[], bool] | None = None
    ) -> Generator[EmbeddedBatch, None, None]:
        """One batch for each text."""
        for start, text in enumerate(texts):
            if start and should_stop and should_stop():
                return
            yield EmbeddedBatch(start=start, vectors=self.embed_query(text)[np.newaxis])
