"""Embeddings from OpenAI or any compatible server, several requests in flight."""

import base64
import binascii
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import partial
from itertools import islice
from threading import Lock

import numpy as np
from openai import OpenAI
from openai.types import CreateEmbeddingResponse

from ragline.common.calls import called
from ragline.common.errors import DependencyError, ProtocolError
from ragline.common.span_names import GEN_AI_DIMENSIONS, GEN_AI_INPUT_TOKENS, Dependency
from ragline.pipeline.gen_ai import embeddings_attributes, texts_content
from ragline.pipeline.openai_errors import SERVICE, openai_errors
from ragline.pipeline.protocols import EmbeddedBatch
from ragline.pipeline.spending import TokenMeter
from ragline.pipeline.text import well_formed
from ragline.stores.protocols import Vector, Vectors

__all__ = ["OpenAIEmbedder"]

_OPERATION = "embed"

_BATCH_TEXTS = 128
"""Texts per request; the provider takes 2,048, but with fewer the first vectors come sooner, less is lost with a failed
request, and eight requests in flight hide the round trips (measured: 2.0 s instead of 4.8 s for a document)."""

_BATCH_TOKENS = 300_000
"""The provider's limit of one request."""

_TOKENS_BESIDE_TEXT = 2
"""Begin and end marks that some models add to each text."""

_WAITING_PER_THREAD = 2
"""Requests handed to the pool for each of its threads: one in flight, and one that follows while the consumer is busy
with writing."""


class OpenAIEmbedder:
    """An `Embedder` that asks a service.

    It does not retry: the ledger decides about that. May be used by several threads at once.

    Parameters
    ----------
    base_url
        Such as ``https://api.openai.com/v1``.
    api_key
        Sent as bearer token.
    model
        The model's name at the service.
    space
        Name of the embedding space.
    concurrency
        Requests in flight of one `stream`.
    timeout_seconds
        Longest silence of the service, and longest time to connect.
    meter
        Told what each reply used.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        model: str,
        space: str,
        concurrency: int,
        timeout_seconds: float,
        meter: TokenMeter | None = None,
    ) -> None:
        self._meter = meter or TokenMeter()
        self._client = OpenAI(base_url=base_url, api_key=api_key, max_retries=0, timeout=timeout_seconds)
        self._model = model
        self._space = space
        self._concurrency = concurrency
        self._dimensions: int | None = None
        self._lock = Lock()

    @property
    def space(self) -> str:
        """Name of the embedding space."""
        return self._space

    def close(self) -> None:
        """Close all connections; no method may be called afterwards."""
        self._client.close()

    def embed_query(self, text: str) -> Vector:
        """Embed one text.

        Parameters
        ----------
        text
            Not empty.

        Returns
        -------
        Vector
            Unit length.

        Raises
        ------
        TransientError
            No connection, no answer in time, a rate limit, or a failure of the service.
        RejectedError
            The service refuses the request: a wrong key or model, no quota, a text that is too long.
        ProtocolError
            The reply holds something else than the promised vector.
        """
        vector: Vector = self._embed([well_formed(text)])[0][0]
        return vector

    def stream(
        self, texts: Sequence[str], should_stop: Callable[[], bool] | None = None
    ) -> Generator[EmbeddedBatch, None, None]:
        """Embed texts in batches, several in flight; they come as they are done, in any order.

        When a request fails or `should_stop` says yes, none is begun any more; what is in flight is still waited for
        and yielded, because it is paid for, and then the first failure, if any, is raised. Closing the generator
        abandons what is in flight.

        Parameters
        ----------
        texts
            None of them empty.
        should_stop
            Asked after each batch; see `Embedder.stream`.

        Yields
        ------
        EmbeddedBatch
            At most 128 vectors.

        Raises
        ------
        TransientError, RejectedError, ProtocolError
            As `embed_query`.
        """
        batches = _batches([well_formed(text) for text in texts])
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="embed")
        try:
            yield from self._drain(pool, batches, should_stop)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def warm(self) -> None:
        """Import the part of the SDK that the first text would otherwise wait for; nothing is sent."""
        _ = self._client.embeddings

    def _drain(
        self,
        pool: ThreadPoolExecutor,
        batches: Iterator[tuple[int, list[str]]],
        should_stop: Callable[[], bool] | None,
    ) -> Iterator[EmbeddedBatch]:
        pending: set[Future[EmbeddedBatch]] = set()
        failure: DependencyError | None = None
        stopping = False
        while True:
            if not stopping:
                room = _WAITING_PER_THREAD * self._concurrency - len(pending)
                pending |= {pool.submit(_in_context(partial(self._batch, *batch))) for batch in islice(batches, room)}
            if not pending:
                break
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            failure = failure or _failure(done)
            if failure and not stopping:
                stopping, pending = True, _begun(pending)
            for future in done:
                if future.exception() is None:
                    yield future.result()
                    if not stopping and should_stop and should_stop():
                        stopping, pending = True, _begun(pending)
        if failure is not None:
            raise failure

    def _batch(self, start: int, texts: list[str]) -> EmbeddedBatch:
        vectors, tokens = self._embed(texts)
        return EmbeddedBatch(start=start, vectors=vectors, tokens=tokens)

    def _embed(self, texts: list[str]) -> tuple[Vectors, int | None]:
        """Vectors, and what they cost."""
        attributes = embeddings_attributes(SERVICE, self._model, len(texts))
        with called(Dependency.EMBEDDINGS, _OPERATION, attributes) as call:
            if call.content:
                call.note(texts_content(texts))
            with openai_errors(_OPERATION):
                response = self._client.embeddings.create(input=texts, model=self._model, encoding_format="base64")
            tokens = _tokens(response)
            if tokens is not None:
                call.note({GEN_AI_INPUT_TOKENS: tokens})
                self._meter.embedded(self._model, tokens)
            vectors = self._checked(_unit_length(_vectors(response, len(texts))))
            call.note({GEN_AI_DIMENSIONS: vectors.shape[1]})
        return vectors, tokens

    def _checked(self, vectors: Vectors) -> Vectors:
        with self._lock:
            self._dimensions = self._dimensions or vectors.shape[1]
        if vectors.shape[1] != self._dimensions:
            raise _unusable(f"vectors of {vectors.shape[1]} dimensions after some of {self._dimensions}")
        return vectors


def _in_context(work: Callable[[], EmbeddedBatch]) -> Callable[[], EmbeddedBatch]:
    """The work with what is known here of the step: what its log lines say and which span it is below."""
    return partial(copy_context().run, work)


def _failure(done: Iterable[Future[EmbeddedBatch]]) -> DependencyError | None:
    """The first failure; a defect is raised at once."""
    failures: list[DependencyError] = []
    for error in (future.exception() for future in done):
        if isinstance(error, DependencyError):
            failures.append(error)
        elif error is not None:
            raise error
    return failures[0] if failures else None


def _begun(pending: Iterable[Future[EmbeddedBatch]]) -> set[Future[EmbeddedBatch]]:
    """Those in flight or done; the others are cancelled."""
    return {future for future in pending if not future.cancel()}


def _batches(texts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Slices of the texts with their starts, each within the limits of one request."""
    start, tokens = 0, 0
    for index, text in enumerate(texts):
        more = _most_tokens(text)
        if index > start and (index - start == _BATCH_TEXTS or tokens + more > _BATCH_TOKENS):
            yield start, list(texts[start:index])
            start, tokens = index, 0
        tokens += more
    if start < len(texts):
        yield start, list(texts[start:])


def _most_tokens(text: str) -> int:
    """An upper bound: no byte-level or byte-fallback tokenizer makes more tokens than there are UTF-8 bytes."""
    return len(text.encode()) + _TOKENS_BESIDE_TEXT


def _vectors(response: CreateEmbeddingResponse, count: int) -> Vectors:
    """The vectors in the order of the texts.

    The SDK does not check replies: every field may be missing or of another type.
    """
    data = getattr(response, "data", None)
    if not isinstance(data, list) or len(data) != count:
        found = len(data) if isinstance(data, list) else "no list of"
        raise _unusable(f"{found} vectors for {count} texts")
    indices = [getattr(entry, "index", None) for entry in data]
    if not all(isinstance(index, int) for index in indices) or set(indices) != set(range(count)):
        raise _unusable("vectors that are not numbered like the texts")
    rows = {entry.index: _decoded(getattr(entry, "embedding", None)) for entry in data}
    if len({vector.shape for vector in rows.values()}) != 1:
        raise _unusable("vectors of different dimensions")
    return np.stack([rows[index] for index in range(count)])


def _tokens(response: CreateEmbeddingResponse) -> int | None:
    """What the service counted; many compatible servers do not count."""
    tokens = getattr(getattr(response, "usage", None), "prompt_tokens", None)
    return tokens if isinstance(tokens, int) else None


def _decoded(embedding: object) -> Vector:
    """One vector, as base64 of little-endian float32 or, from servers that ignore the wish for it, as a list."""
    try:
        if isinstance(embedding, str):
            vector = np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
        else:
            with np.errstate(over="ignore"):  # what is too large becomes infinite, and `_unit_length` refuses it
                vector = np.asarray(embedding, np.float64).astype(np.float32)
    except (binascii.Error, TypeError, ValueError):
        raise _unusable("a vector that cannot be decoded") from None
    if vector.ndim != 1 or not vector.size:
        raise _unusable("a vector that cannot be decoded")
    return vector


def _unit_length(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    # Also false for NaN and infinity.
    if not np.all((lengths > 0) & (lengths < np.inf)):
        raise _unusable("a vector without direction")
    normal: Vectors = (vectors / lengths).astype(np.float32)
    return normal


def _unusable(detail: str) -> ProtocolError:
    return ProtocolError(SERVICE, _OPERATION, f"the reply holds {detail}")
