"""kubectl on one namespace."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from e2e.support.commands import run
from e2e.support.diagnosis import stuck
from tests.support.waiting import wait_until

__all__ = ["Kubectl"]

_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    """The cluster, seen from a namespace."""

    context: str
    namespace: str = "default"

    def __call__(self, *arguments: str, stdin: str | None = None, timeout_seconds: float = 60) -> str:
        """What the command printed."""
        return run(self.command(*arguments), stdin=stdin, timeout_seconds=timeout_seconds)

    def command(self, *arguments: str) -> list[str]:
        """The command line."""
        return ["kubectl", "--context", self.context, "--namespace", self.namespace, *arguments]

    def items(self, kind: str, *, selector: str = "") -> list[dict[str, Any]]:
        """All objects of a kind, or of several with commas between them."""
        found: dict[str, list[dict[str, Any]]] = json.loads(self("get", kind, "--selector", selector, "-o", "json"))
        return found["items"]

    def object(self, kind: str, name: str) -> dict[str, Any]:
        """One object."""
        found: dict[str, Any] = json.loads(self("get", kind, name, "-o", "json"))
        return found

    def wait(self, predicate: Callable[[], bool], *, timeout_seconds: float) -> float:
        """Wait until the predicate holds, and fail at once when a pod cannot get there any more.

        Returns
        -------
        float
            Seconds it took.
        """
        started = time.monotonic()

        def holds() -> bool:
            reasons = stuck(self.items("pods"), self.items("events"))
            assert not reasons, "; ".join(reasons)
            return predicate()

        wait_until(holds, timeout_seconds=timeout_seconds, interval_seconds=_LOOK_SECONDS)
        return time.monotonic() - started
