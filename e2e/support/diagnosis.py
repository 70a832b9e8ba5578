"""Why a pod does not come up, and everything one wants to read after a failed test."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from e2e.support.commands import CommandFailed

__all__ = ["dump", "stuck"]

_HOPELESS = {
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "ErrImageNeverPull",
    "ImagePullBackOff",
    "InvalidImageName",
}
"""Reasons of a waiting container that more waiting does not mend."""

_SHOWN_LINES = 8
"""Last lines of each file that are printed."""

_LOOKS = {
    "objects": ("get", "all,pvc,networkpolicy,scaledobject", "-o", "wide"),
    "events": ("get", "events", "--sort-by=.lastTimestamp"),
    "pods": ("describe", "pods"),
}


def stuck(pods: Iterable[Mapping[str, Any]], events: Iterable[Mapping[str, Any]]) -> list[str]:
    """One sentence for each pod that cannot start, or is not allowed to exist."""
    found = []
    for pod in pods:
        for container in _containers(pod):
            waiting = container["state"].get("waiting", {})
            if waiting.get("reason") in _HOPELESS:
                found.append(f"{pod['metadata']['name']}: {waiting['reason']}: {waiting.get('message', '')}")
    refused = (event for event in events if event["reason"] == "FailedCreate" and "forbidden" in event["message"])
    return found + [f"{event['involvedObject']['name']}: {event['message']}" for event in refused]


def dump(kubectl: Callable[..., str], pods: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write events, descriptions and logs of a namespace into a folder, and print their last lines."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, arguments in _LOOKS.items():
        (folder / f"{name}.txt").write_text(_said(kubectl, *arguments), encoding="utf-8")
    for pod in pods:
        name = pod["metadata"]["name"]
        for suffix, options in {"": (), ".previous": ("--previous",)}.items():
            restarts = sum(container["restartCount"] for container in _containers(pod))
            if not options or restarts:
                log = _said(kubectl, "logs", name, "--all-containers", *options)
                (folder / f"{name}{suffix}.log").write_text(log, encoding="utf-8")
    for path in sorted(folder.iterdir()):
        if path.name != "pods.txt":
            print(f"\n-- {path}", *path.read_text(encoding="utf-8").splitlines()[-_SHOWN_LINES:], sep="\n")


def _containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    status = pod["status"]
    return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]


def _said(kubectl: Callable[..., str], *arguments: str) -> str:
    try:
        return kubectl(*arguments)
    except CommandFailed as error:
        return f"{error}\n"
