"""How often and how long one call is tried again."""

import random
import time
from collections.abc import Callable

from ragline_client.errors import ApiError, RaglineError

__all__ = ["Patience"]

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 20.0
"""Of the pauses the client chooses itself; the service may ask for longer ones."""


class Patience:
    """The patience with one call.

    Parameters
    ----------
    retries
        Most tries after the first one.
    within_seconds
        Time after which no other try begins.
    """

    def __init__(self, *, retries: int, within_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._retries = retries
        self._within_seconds = within_seconds
        self._clock = clock
        self.restart()

    def pause_after(self, error: RaglineError) -> float:
        """Seconds to wait before the next try; raises the error when there is to be none."""
        self._failures += 1
        if not error.transient or self._failures > self._retries:
            raise error
        asked = error.retry_after if isinstance(error, ApiError) else None
        # Full jitter: clients that failed together do not come back together.
        limit = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** (self._failures - 1))
        pause = random.uniform(0, limit) if asked is None else asked  # noqa: S311 - not a secret
        if self._clock() + pause > self._deadline:
            raise error
        return pause

    def restart(self) -> None:
        """It went on: what failed before does not count any more."""
        self._failures = 0
        self._deadline = self._clock() + self._within_seconds
