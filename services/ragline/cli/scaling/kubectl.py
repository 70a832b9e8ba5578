"""What a cluster says about its objects, asked through kubectl: it knows the user's cluster, rights and login."""

import json
import subprocess
from typing import Any

__all__ = ["ClusterUnreadable", "Kubectl"]

_PATIENCE_SECONDS = 10
_NO_SUCH_KIND = "the server doesn't have a resource type"


class ClusterUnreadable(Exception):
    """The cluster cannot be asked; the message says why."""


class Kubectl:
    """Reads objects of one namespace.

    Parameters
    ----------
    context
        Which of the user's clusters; empty: the one kubectl is set to.
    """

    def __init__(self, *, namespace: str, context: str = "") -> None:
        self._words = ("kubectl", *(("--context", context) if context else ()), "--namespace", namespace)

    def listed(self, kind: str, *, selector: str = "") -> list[dict[str, Any]]:
        """All objects of a kind; none when the cluster does not know the kind.

        Raises
        ------
        ClusterUnreadable
            There is no kubectl, no cluster that answers, or no right to look.
        """
        chosen = ("--selector", selector) if selector else ()
        command = (*self._words, "get", kind, *chosen, "--output", "json", f"--request-timeout={_PATIENCE_SECONDS}s")
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=2 * _PATIENCE_SECONDS, errors="replace"
            )
        except FileNotFoundError as error:
            raise ClusterUnreadable("kubectl is not on the PATH") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ClusterUnreadable(f"kubectl does not run: {error}") from error
        if done.returncode:
            return _refused(kind, done.stderr)
        return _items(kind, done.stdout)


def _refused(kind: str, complaint: str) -> list[dict[str, Any]]:
    if _NO_SUCH_KIND in complaint:
        return []
    lines = complaint.strip().splitlines() or ["it did not say why"]
    raise ClusterUnreadable(f"kubectl cannot read {kind}: {lines[-1]}")


def _items(kind: str, text: str) -> list[dict[str, Any]]:
    try:
        return [dict(item) for item in json.loads(text)["items"]]
    except (ValueError, LookupError, TypeError) as error:
        raise ClusterUnreadable(f"kubectl's answer about {kind} is not understood") from error
