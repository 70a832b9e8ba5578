"""Embeddings on the CPU with onnxruntime: no key, no network."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native
from tokenizers import Encoding, Tokenizer

from ragline.common.calls import called
from ragline.common.config import ConfigError
from ragline.common.span_names import GEN_AI_DIMENSIONS, GEN_AI_INPUT_TOKENS, Dependency
from ragline.pipeline.gen_ai import embeddings_attributes, texts_content
from ragline.pipeline.protocols import EmbeddedBatch
from ragline.pipeline.text import well_formed
from ragline.stores.protocols import Vector, Vectors

__all__ = ["LocalEmbedder"]

_BATCH_TEXTS = 32
"""Texts per yielded batch: about a second of work, so that a step can stop in time and its writes are worthwhile."""

_RUN_TEXTS = 4
"""Texts per run of the model, neighbours in length so that little is padding. Two cores embed 62 chunks of 1,000
characters a second in runs of 4, 55 in runs of 8, 47 in runs of 32 (measured); memory grows with the run too."""

_MAX_TOKENS = 256
"""What all-MiniLM-L6-v2 was trained on; the rest of a longer text does not count. About 1,100 characters of English."""

_IDS = ("ids", "input_ids")
_MASK = ("mask", "attention_mask")
_TYPES = ("token_type_ids",)

_PADDING = frozenset({"pad_id", "pad_token", "pad_type_id"})

_NOT_SENTENCES = "pooler_output"
"""A second, two-dimensional output of exported BERT models: a classifier's input, of no use for comparing."""

_INTEGERS: Mapping[str, type[np.integer[Any]]] = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}

_LOAD_ERRORS = (native.Fail, native.InvalidGraph, native.InvalidProtobuf, native.NoSuchFile, native.NotImplemented)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """A loaded model, ready for several threads at once.

    Attributes
    ----------
    padding
        Arguments of `tokenizers.Encoding.pad`.
    inputs
        Integer type by input name.
    pooled
        Whether the output is one vector a text, else one a token.
    """

    session: onnxruntime.InferenceSession
    tokenizer: Tokenizer
    padding: Mapping[str, Any]
    inputs: Mapping[str, type[np.integer[Any]]]
    output: str
    pooled: bool


class LocalEmbedder:
    """An `Embedder` that runs a sentence model on the CPU.

    The model is loaded when it is first needed. All methods may be called from several threads.

    Parameters
    ----------
    model_dir
        Folder with ``model.onnx`` and ``tokenizer.json``: made by `minilm.ensure_graph`, or exported from any
        sentence model with mean pooling.
    space
        Name of the embedding space.
    threads
        CPU threads of one run.

    Raises
    ------
    ConfigError
        When a file is missing.
    """

    def __init__(self, model_dir: Path, *, space: str, threads: int) -> None:
        for name in ("model.onnx", "tokenizer.json"):
            if not (model_dir / name).is_file():
                msg = f"The embedding model's folder {model_dir} holds no {name}"
                raise ConfigError(msg)
        self._model_dir = model_dir
        self._space = space
        self._threads = threads
        self._loading = Lock()
        self._loaded: _Model | None = None

    @property
    def space(self) -> str:
        """Name of the embedding space."""
        return self._space

    def embed_query(self, text: str) -> Vector:
        """Embed one text.

        Parameters
        ----------
        text
            Counts up to its 256th token.

        Returns
        -------
        Vector
            Unit length.

        Raises
        ------
        ConfigError
            When the model cannot be loaded.
        """
        vector: Vector = self._embed([text]).vectors[0]
        return vector

    def stream(
        self, texts: Sequence[str], should_stop: Callable[[], bool] | None = None
    ) -> Generator[EmbeddedBatch, None, None]:
        """Embed texts batch after batch, in order; nothing runs ahead of the consumer.

        Parameters
        ----------
        texts
            Each counts up to its 256th token.
        should_stop
            Asked after each batch; see `Embedder.stream`.

        Yields
        ------
        EmbeddedBatch
            At most 32 vectors.

        Raises
        ------
        ConfigError
            When the model cannot be loaded.
        """
        for start in range(0, len(texts), _BATCH_TEXTS):
            if start and should_stop and should_stop():
                return
            yield self._embed(texts[start : start + _BATCH_TEXTS], start=start)

    def warm(self) -> None:
        """Load the model now (about 0.3 s) instead of with the first text.

        Raises
        ------
        ConfigError
            When it cannot be loaded.
        """
        self._model()

    def _model(self) -> _Model:
        if self._loaded is None:
            with self._loading:
                if self._loaded is None:
                    self._loaded = _load(self._model_dir, self._threads)
        return self._loaded

    def _embed(self, texts: Sequence[str], *, start: int = 0) -> EmbeddedBatch:
        provider, _, name = self._space.partition("/")
        attributes = embeddings_attributes(provider, name, len(texts))
        with called(Dependency.EMBEDDINGS, "embed", attributes) as call:
            if call.content:
                call.note(texts_content(texts))
            batch = self._embedded(texts, start)
            call.note({GEN_AI_INPUT_TOKENS: batch.tokens or 0, GEN_AI_DIMENSIONS: batch.vectors.shape[1]})
        return batch

    def _embedded(self, texts: Sequence[str], start: int) -> EmbeddedBatch:
        model = self._model()
        encodings = model.tokenizer.encode_batch([well_formed(text) for text in texts])
        order = sorted(range(len(encodings)), key=lambda index: len(encodings[index].ids))
        # Counted before each run pads its texts.
        tokens = sum(len(encoding.ids) for encoding in encodings)
        rows: dict[int, Vector] = {}
        for first in range(0, len(order), _RUN_TEXTS):
            run = order[first : first + _RUN_TEXTS]
            rows.update(zip(run, _run(model, [encodings[index] for index in run]), strict=True))
        vectors = np.stack([rows[index] for index in range(len(rows))])
        return EmbeddedBatch(start=start, vectors=vectors, tokens=tokens)


def _load(model_dir: Path, threads: int) -> _Model:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Idle threads must sleep: by default they spin, which a container's CPU limit counts as work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            str(model_dir / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
    except _LOAD_ERRORS as error:
        msg = f"The embedding model in {model_dir} cannot be loaded: {error}"
        raise ConfigError(msg) from error
    output = _output(session, model_dir)
    tokenizer, padding = _tokenizer(model_dir)
    return _Model(
        session=session,
        tokenizer=tokenizer,
        padding=padding,
        inputs=_inputs(session, model_dir),
        output=output.name,
        pooled=len(output.shape) == 2,  # noqa: PLR2004 - texts and dimensions
    )


def _tokenizer(model_dir: Path) -> tuple[Tokenizer, dict[str, Any]]:
    """The tokenizer, and how its model wants texts to be padded."""
    try:
        tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    except Exception as error:  # tokenizers raises nothing more specific
        msg = f"The tokenizer in {model_dir} cannot be loaded: {error}"
        raise ConfigError(msg) from error
    # Padding is ours: the tokenizer would pad to the longest of all texts, or to a length set by the exporter.
    padding = {key: value for key, value in (tokenizer.padding or {}).items() if key in _PADDING}
    tokenizer.no_padding()
    tokenizer.enable_truncation(_MAX_TOKENS)
    return tokenizer, padding


def _inputs(session: onnxruntime.InferenceSession, model_dir: Path) -> dict[str, type[np.integer[Any]]]:
    inputs = {entry.name: _INTEGERS.get(entry.type) for entry in session.get_inputs()}
    known = {name: kind for name, kind in inputs.items() if kind and name in (*_IDS, *_MASK, *_TYPES)}
    if len(known) < len(inputs):
        msg = f"The model in {model_dir} wants inputs we do not know: {', '.join(sorted(inputs.keys() - known.keys()))}"
        raise ConfigError(msg)
    return known


def _output(session: onnxruntime.InferenceSession, model_dir: Path) -> Any:  # noqa: ANN401 - onnxruntime is untyped
    outputs = [output for output in session.get_outputs() if output.name != _NOT_SENTENCES]
    for rank in (2, 3):
        for output in outputs:
            if len(output.shape) == rank:
                return output
    msg = f"The model in {model_dir} gives no embedding of shape (texts, dimensions) or (texts, tokens, dimensions)"
    raise ConfigError(msg)


def _run(model: _Model, encodings: Sequence[Encoding]) -> Vectors:
    longest = max(len(encoding.ids) for encoding in encodings)
    for encoding in encodings:
        encoding.pad(longest, **model.padding)
    feed = {
        name: np.array([_row(encoding, name) for encoding in encodings], kind) for name, kind in model.inputs.items()
    }
    (result,) = model.session.run([model.output], feed)
    states = np.asarray(result, np.float32)
    vectors = states if model.pooled else _mean(states, encodings)
    normal: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normal


def _row(encoding: Encoding, name: str) -> list[int]:
    if name in _IDS:
        return list(encoding.ids)
    return list(encoding.attention_mask if name in _MASK else encoding.type_ids)


def _mean(states: npt.NDArray[np.float32], encodings: Sequence[Encoding]) -> Vectors:
    """Mean over the tokens that are not padding."""
    mask = np.array([encoding.attention_mask for encoding in encodings], np.float32)[:, :, np.newaxis]
    mean: Vectors = (states * mask).sum(axis=1) / mask.sum(axis=1)
    return mean
