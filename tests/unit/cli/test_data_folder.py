import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ragline.cli.supervisor.data_folder import (
    FolderInUse,
    RunningService,
    announce,
    announced_service,
    locked,
    without_password,
)

SERVICE = RunningService(
    pid=7,
    api_url="http://127.0.0.1:8000",
    redis_url="redis://127.0.0.1:6380/0",
    chroma_url="http://127.0.0.1:8001",
    started_at=datetime(2025, 1, 1, tzinfo=UTC),
)


def test_a_second_service_on_the_folder_is_refused_with_the_process(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(FolderInUse) as failure, locked(tmp_path):
        pass
    assert f"Ragline already runs on {tmp_path} (process {os.getpid()})" in str(failure.value)


def test_a_folder_can_be_used_again(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "new"):
            pass
    assert (tmp_path / "new" / "up.lock").read_text() == f"{os.getpid()}\n"


def test_a_service_is_announced_while_it_runs(tmp_path: Path) -> None:
    assert announced_service(tmp_path) is None
    with announce(tmp_path, SERVICE):
        assert announced_service(tmp_path) == SERVICE
        assert [path.name for path in tmp_path.iterdir()] == ["up.json"]
    assert announced_service(tmp_path) is None


def test_a_spoiled_announcement_is_none(tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text('{"pid": 1')
    assert announced_service(tmp_path) is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6380/0", "redis://127.0.0.1:6380/0"),
        ("rediss://user:s3cret@redis.example:6379/2?a=b", "rediss://redis.example:6379/2?a=b"),
        ("redis://:p%40ss@[::1]:6379/0", "redis://[::1]:6379/0"),
    ],
)
def test_a_shown_address_has_no_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
