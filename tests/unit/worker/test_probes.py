"""Files for a container's probes."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from ragline.common.config import ConfigError
from ragline.worker import probes
from ragline.worker.probes import ProbeFiles
from tests.support.waiting import wait_until


def test_alive_stays_fresh_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "HEARTBEAT_INTERVAL", timedelta(milliseconds=2))
    ProbeFiles(tmp_path / "new" / "probes").start()
    alive = tmp_path / "new" / "probes" / "alive"
    os.utime(alive, (0, 0))
    wait_until(lambda: alive.stat().st_mtime > 0, timeout_seconds=5)


def test_ready_of_an_earlier_process_does_not_count(tmp_path: Path) -> None:
    """The folder outlives a container that is started again."""
    (tmp_path / "ready").touch()
    files = ProbeFiles(tmp_path)
    files.start()
    assert not (tmp_path / "ready").exists()
    files.ready()
    assert (tmp_path / "ready").exists()
    files.leave()
    files.leave()
    assert [path.name for path in tmp_path.iterdir()] == ["alive"]


def test_without_a_folder_there_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = ProbeFiles(None)
    files.start()
    files.ready()
    files.leave()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="PROBE_DIR"):
        ProbeFiles(tmp_path / "file" / "probes").start()


def test_a_full_disk_later_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ProbeFiles(tmp_path)
    files.start()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "touch", full)
    files.ready()
