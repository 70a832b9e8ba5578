"""Files that tell a container's probes how this worker is: their age is what is looked at."""

import threading
from pathlib import Path

import structlog

from ragline.common.config import ConfigError
from ragline.common.constants import HEARTBEAT_INTERVAL

__all__ = ["ProbeFiles"]

logger = structlog.get_logger(__name__)


class ProbeFiles:
    """The files ``alive`` and ``ready``.

    ``alive`` depends on nothing but this process, so that an outage of Redis restarts no worker.

    Parameters
    ----------
    folder
        Made if it does not exist; with none there are no files.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def start(self) -> None:
        """Keep ``alive`` fresh from now on; ``ready`` of an earlier process is gone.

        Raises
        ------
        ConfigError
            The folder cannot be written.
        """
        if self._folder is None:
            return
        alive = self._folder / "alive"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._ready(self._folder).unlink(missing_ok=True)
            alive.touch()
        except OSError as error:
            msg = f"PROBE_DIR {self._folder} cannot be written: {error.strerror or error}"
            raise ConfigError(msg) from error
        threading.Thread(target=_keep_fresh, args=(alive,), name="probe", daemon=True).start()

    def ready(self) -> None:
        """The worker has just reached Redis."""
        if self._folder is not None:
            _touch(self._ready(self._folder))

    def leave(self) -> None:
        """The worker takes no more work."""
        if self._folder is not None:
            self._ready(self._folder).unlink(missing_ok=True)

    @staticmethod
    def _ready(folder: Path) -> Path:
        return folder / "ready"


def _keep_fresh(alive: Path) -> None:
    pause = threading.Event()
    while not pause.wait(HEARTBEAT_INTERVAL.total_seconds()):
        _touch(alive)


def _touch(path: Path) -> None:
    try:
        path.touch()
    except OSError as error:
        logger.warning("probe file not touched", path=str(path), reason=error.strerror, next="another try soon")
