"""One part by itself gets what `up` would give it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from ragline.cli.supervisor.plan import load_settings
from ragline.cli.up import run_part
from ragline.common.config import ConfigError


class _Became(Exception):
    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        super().__init__(argv)
        self.argv, self.env = argv, env


@pytest.fixture(autouse=True)
def _no_exec(monkeypatch: pytest.MonkeyPatch) -> None:
    def become(_path: str, argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
        raise _Became(argv, env)

    monkeypatch.setattr(os, "execve", become)


def test_a_worker_joins_the_parts_of_its_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PORT", "7001")
    monkeypatch.setenv("CHROMA_PORT", "7002")

    with pytest.raises(_Became) as became:
        run_part(load_settings(tmp_path / "with a space"), "worker-rag")

    assert became.value.argv[-2:] == ("ragline.worker.main", "rag")
    env = became.value.env
    assert env["REDIS_URL"] == "redis://127.0.0.1:7001/0"
    assert env["CHROMA_URL"] == "http://127.0.0.1:7002"
    assert env["OBJECT_STORE_URL"] == (tmp_path / "with a space" / "objects").as_uri()
    assert Path(env["UPLOAD_ROOT"]).is_dir()


def test_an_unknown_part_is_refused_with_the_names_of_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope; there are valkey, chroma, api, worker-default"):
        run_part(load_settings(tmp_path), "nope")


def test_only_the_observer_itself_counts_on_an_observer(tmp_path: Path) -> None:
    with pytest.raises(_Became) as became:
        run_part(load_settings(tmp_path), "observer")
    assert "ragline.cli.observer.main:create_app" in became.value.argv
    with pytest.raises(_Became) as became:
        run_part(load_settings(tmp_path), "api")
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in became.value.env
