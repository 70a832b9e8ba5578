"""Pods of the tests' own: scripts that call the service from inside of the cluster, and hands on volumes."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from e2e.support.kubectl import Kubectl
from tests.support.waiting import wait_until

__all__ = ["Script", "hands_on"]

_SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
_SCRIPT_SECONDS = 300
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}


class Script:
    """One of the scripts of e2e/scripts in a pod; its last line is JSON.

    Parameters
    ----------
    labels
        Decide which network policies hold for the pod.
    """

    def __init__(
        self, kubectl: Kubectl, name: str, *arguments: str, script: str, image: str, labels: Mapping[str, str]
    ) -> None:
        source = (_SCRIPTS / f"{script}.py").read_text(encoding="utf-8")
        overrides = _pod(image, command=["python", "-c", source, *arguments], labels=labels)
        self._kubectl = kubectl
        self._name = name
        kubectl("run", name, "--image", image, "--restart=Never", "--overrides", overrides)

    def result(self) -> Any:  # noqa: ANN401 - parsed JSON
        """What its last line says, once it has ended."""
        ends = {"Succeeded", "Failed"}
        wait_until(lambda: self._phase() in ends, timeout_seconds=_SCRIPT_SECONDS, interval_seconds=0.5)
        printed = self._kubectl("logs", self._name)
        assert self._phase() == "Succeeded", printed
        self._kubectl("delete", "pod", self._name)
        return json.loads(printed.splitlines()[-1])

    def _phase(self) -> str:
        return str(self._kubectl.object("pod", self._name)["status"]["phase"])


@contextmanager
def hands_on(kubectl: Kubectl, claim: str, *, image: str) -> Iterator[str]:
    """A pod that has a volume at /data and does nothing; its name."""
    name = f"hands-on-{claim}"
    overrides = json.loads(_pod(image, command=["sleep", "600"], labels={}))
    overrides["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    overrides["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
    kubectl("run", name, "--image", image, "--restart=Never", "--overrides", json.dumps(overrides))
    kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s", timeout_seconds=70)
    try:
        yield name
    finally:
        kubectl("delete", "pod", name, "--grace-period=1")


def _pod(image: str, *, command: list[str], labels: Mapping[str, str]) -> str:
    container = {"name": "it", "image": image, "command": command, "securityContext": _RESTRICTED}
    spec = {"automountServiceAccountToken": False, "securityContext": {"fsGroup": 10001}, "containers": [container]}
    return json.dumps({"metadata": {"labels": dict(labels)}, "spec": spec})
