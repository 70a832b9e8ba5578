"""A release of the chart on the cluster, and what the tests do to it."""

import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from e2e.support.cluster import load_images
from e2e.support.commands import CommandFailed
from e2e.support.helm import Helm
from e2e.support.kubectl import Kubectl

__all__ = ["Release", "namespace"]

_NAMESPACE = (Path(__file__).resolve().parents[2] / "k8s/namespace.yaml").read_text(encoding="utf-8")
_MARK = "ragline-e2e"
"""Label of the namespaces that the tests made."""

_INSTALL_SECONDS = 180
_PAUSED = "autoscaling.keda.sh/paused-replicas"


@contextmanager
def namespace(context: str, name: str, *, closed: bool = True) -> Iterator[Kubectl]:
    """A namespace made of k8s/namespace.yaml; E2E_KEEP=1 leaves it there and finds it again.

    Parameters
    ----------
    closed
        With the policy that denies every connection.
    """
    kubectl, keep = Kubectl(context=context, namespace=name), bool(os.environ.get("E2E_KEEP"))
    if not keep:
        _delete(kubectl, wait=True)
    manifests = _NAMESPACE if closed else _NAMESPACE.partition("\n---\n")[0]
    kubectl("apply", "--filename", "-", stdin=manifests.replace(": ragline\n", f": {name}\n"))
    kubectl("label", "--overwrite", "namespace", name, f"{_MARK}=true")
    # No `finally`: what failed stays to be looked at, until the next run.
    yield kubectl
    if not keep:
        _delete(kubectl, wait=False)


def _delete(kubectl: Kubectl, *, wait: bool) -> None:
    options = ["--ignore-not-found", f"--wait={str(wait).lower()}"]
    kubectl("delete", "namespace", kubectl.namespace, *options, timeout_seconds=180)


class Release:
    """The chart in a namespace.

    Parameters
    ----------
    settings
        ``name=value`` for ``--set``.
    """

    name = "ragline"

    def __init__(self, kubectl: Kubectl, *settings: str) -> None:
        self.kubectl = kubectl
        self.helm = Helm(
            context=kubectl.context,
            namespace=kubectl.namespace,
            release=self.name,
            settings=(*_image_settings("api"), *_image_settings("worker"), *settings),
        )

    def delete_pods(self, component: str, *options: str) -> None:
        """Delete the pods of a component without waiting for their end."""
        self.kubectl("delete", "pods", "--selector", _selector(component), "--wait=false", *options)

    def image(self, part: str) -> str:
        """Image of the API or of the workers."""
        return _image(part)

    def load_images(self) -> None:
        """Put what the release runs onto the cluster, where that is a kind cluster."""
        load_images(self.kubectl.context, self.helm.images())

    def in_api(self, *command: str) -> str:
        """What a command printed that runs in one of the API's pods."""
        return self.kubectl("exec", f"deployment/{self.name}-api", "--", *command)

    def is_ready(self) -> bool:
        """Whether each workload has the pods it wants, ready."""
        workloads = self.kubectl.items("deployments,statefulsets")
        return bool(workloads) and all(_is_complete(workload) for workload in workloads)

    def kill_processes(self, pod: str) -> None:
        """Kill all processes of a pod at once, as a lack of memory does."""
        try:
            self.kubectl("exec", pod, "--", "sh", "-c", "kill -KILL -1")
        except CommandFailed as error:
            # The container's end takes the command with it.
            if f"exit code {128 + signal.SIGKILL}" not in str(error):
                raise

    def log(self, component: str) -> str:
        """What a component's pods have logged; nothing while a container has not begun."""
        try:
            return self.kubectl("logs", "--selector", _selector(component), "--tail=-1", "--all-containers")
        except CommandFailed:
            return ""

    def pause(self, queue: str, replicas: int | None) -> None:
        """Hold a queue at a number of workers, whatever KEDA thinks; none: KEDA decides again."""
        change = f"{_PAUSED}-" if replicas is None else f"{_PAUSED}={replicas}"
        self.kubectl("annotate", "--overwrite", "scaledobject", self.worker(queue), change)

    def pods(self, component: str) -> list[dict[str, Any]]:
        """Pods of a component that nobody has told to stop."""
        pods = self.kubectl.items("pods", selector=_selector(component))
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def ready_pods(self, component: str) -> list[str]:
        """Names of the pods of a component that are ready."""
        return [pod["metadata"]["name"] for pod in self.pods(component) if _is_ready(pod)]

    def replicas(self, queue: str) -> int:
        """How many workers of a queue are wanted."""
        replicas: int = self.kubectl.object("deployment", self.worker(queue))["spec"]["replicas"]
        return replicas

    def replace(self, component: str) -> float:
        """Delete a component's one pod and wait until its successor is ready.

        Returns
        -------
        float
            Seconds it took.
        """
        (old,) = [_uid(pod) for pod in self.pods(component)]
        self.delete_pods(component)

        def replaced() -> bool:
            pods = self.pods(component)
            return len(pods) == 1 and _uid(pods[0]) != old and _is_ready(pods[0])

        return self.kubectl.wait(replaced, timeout_seconds=120)

    def restarts(self) -> int:
        """Restarts of all containers."""
        pods = self.kubectl.items("pods")
        return sum(status["restartCount"] for pod in pods for status in pod["status"].get("containerStatuses", ()))

    def scale(self, queue: str, replicas: int) -> None:
        """Set the number of workers once; KEDA goes on deciding."""
        self.kubectl("scale", "deployment", self.worker(queue), f"--replicas={replicas}")

    @contextmanager
    def scaling(self, queue: str, changes: Sequence[tuple[str, object]]) -> Iterator[None]:
        """Other settings for a queue's ScaledObject: places in it, and values."""
        name = self.worker(queue)
        before = self.kubectl.object("scaledobject", name)
        self._patch(name, changes)
        try:
            yield
        finally:
            self._patch(name, [(path, _at(before, path)) for path, _ in changes])

    def wait_ready(self) -> float:
        """Wait until every part is ready.

        Returns
        -------
        float
            Seconds it took.
        """
        return self.kubectl.wait(self.is_ready, timeout_seconds=_INSTALL_SECONDS)

    def wait_asleep(self, queue: str) -> float:
        """Wait until a queue has no worker.

        What a killed worker had taken keeps the queue awake until the broker's visibility timeout and its next look.

        Returns
        -------
        float
            Seconds it took.
        """
        return self.kubectl.wait(
            lambda: self.replicas(queue) == 0 and not self.pods(f"worker-{queue}"), timeout_seconds=300
        )

    def worker(self, queue: str) -> str:
        """Name of a queue's Deployment and ScaledObject."""
        return f"{self.name}-worker-{queue}"

    def _patch(self, scaled_object: str, changes: Sequence[tuple[str, object]]) -> None:
        patch = json.dumps([{"op": "replace", "path": path, "value": value} for path, value in changes])
        self.kubectl("patch", "scaledobject", scaled_object, "--type=json", "--patch", patch)


def _at(thing: Any, path: str) -> object:  # noqa: ANN401 - parsed JSON
    for part in path.strip("/").split("/"):
        thing = thing[part]
    return thing


def _image(part: str) -> str:
    return os.environ.get(f"E2E_{part.upper()}_IMAGE", f"ragline/{part}:dev")


def _image_settings(part: str) -> tuple[str, ...]:
    repository, _, tag = _image(part).rpartition(":")
    return f"{part}.image.repository={repository}", f"{part}.image.tag={tag}"


def _is_complete(workload: dict[str, Any]) -> bool:
    status, wanted = workload["status"], workload["spec"]["replicas"]
    seen: bool = status.get("observedGeneration") == workload["metadata"]["generation"]
    counts = {status.get(name, 0) for name in ("replicas", "readyReplicas", "updatedReplicas")}
    return seen and counts == {wanted}


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _selector(component: str) -> str:
    return f"app.kubernetes.io/component={component}"


def _uid(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["uid"])
