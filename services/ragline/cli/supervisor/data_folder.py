"""The folder a service on a laptop lives in: who uses it, and where that service is reached."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from ragline.cli.failures import CannotStart

__all__ = ["FolderInUse", "RunningService", "announce", "announced_service", "locked", "without_password"]


class FolderInUse(CannotStart):
    """Another `ragline up` runs on this folder."""


class RunningService(BaseModel):
    """What ``up.json`` says while a service runs."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    api_url: str
    redis_url: str
    chroma_url: str
    observer_url: str | None = None
    started_at: datetime


@contextmanager
def announce(data_dir: Path, service: RunningService) -> Iterator[None]:
    """Keep ``up.json`` in the folder for as long as the block runs."""
    path = _announcement(data_dir)
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(service.model_dump_json(indent=2) + "\n")
    fresh.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Be the only service on this folder. The lock ends with the process, however that ends.

    Raises
    ------
    FolderInUse
        Naming the process that has it.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            raise FolderInUse(
                f"Ragline already runs on {data_dir} (process {owner}); stop it or choose another --data-dir"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def announced_service(data_dir: Path) -> RunningService | None:
    """The service that `ragline up` announced in this folder; a killed one may not have taken that back."""
    try:
        return RunningService.model_validate_json(_announcement(data_dir).read_bytes())
    except (OSError, ValidationError):
        return None


def without_password(url: str) -> str:
    """The address without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _announcement(data_dir: Path) -> Path:
    return data_dir / "up.json"
