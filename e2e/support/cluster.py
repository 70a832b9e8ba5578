"""The cluster the tests run on: an existing one, or one of kind's that is made for them."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from e2e.support.commands import CommandFailed, run
from e2e.support.kubectl import Kubectl

__all__ = ["cluster", "ensure_traefik", "kind_name", "load_images", "version"]

_ROOT = Path(__file__).resolve().parents[2]
_KIND = "kind-"
"""How the contexts of kind's clusters begin."""

_OWN_CLUSTER = "ragline-e2e"
_DOCKER = shutil.which(os.environ.get("DOCKER", "docker")) or "docker"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tool:
    """What the chart works with and does not bring; installed from its own chart where its CRD is missing."""

    name: str
    crd: str
    repository: str
    version: str

    @property
    def values(self) -> Path:
        return _ROOT / f"k8s/{self.name}-values.yaml"


_KEDA = _Tool(
    name="keda", crd="scaledobjects.keda.sh", repository="https://kedacore.github.io/charts", version="2.20.2"
)
_TRAEFIK = _Tool(
    name="traefik", crd="middlewares.traefik.io", repository="https://traefik.github.io/charts", version="41.3.0"
)


@contextmanager
def cluster() -> Iterator[str]:
    """The context of a cluster with KEDA: KUBE_CONTEXT, or kind's current one, or a new one."""
    context = os.environ.get("KUBE_CONTEXT") or _current_kind_context()
    if context:
        _ensure(context, _KEDA)
        yield context
        return
    image = os.environ.get("KIND_NODE_IMAGE")
    options = ["--image", image] if image else []
    config = str(_ROOT / "k8s/kind.yaml")
    _kind("create", "cluster", "--name", _OWN_CLUSTER, "--config", config, "--wait", "120s", *options)
    try:
        _ensure(_KIND + _OWN_CLUSTER, _KEDA)
        yield _KIND + _OWN_CLUSTER
    finally:
        if not os.environ.get("E2E_KEEP"):
            _kind("delete", "cluster", "--name", _OWN_CLUSTER)


def ensure_traefik(context: str) -> None:
    """Have an ingress controller in the cluster."""
    _ensure(context, _TRAEFIK)


def kind_name(context: str) -> str:
    """Name of a kind cluster; empty for another one."""
    return context.removeprefix(_KIND) if context.startswith(_KIND) else ""


def load_images(context: str, images: Sequence[str]) -> None:
    """Put those images that are here onto the nodes of a kind cluster; kind skips what they have."""
    if (name := kind_name(context)) and (here := [image for image in images if _is_here(image)]):
        _kind("load", "docker-image", "--name", name, *here)


def version(context: str) -> str:
    """Version of the cluster."""
    found: str = json.loads(Kubectl(context=context)("version", "-o", "json"))["serverVersion"]["gitVersion"]
    return found


def _current_kind_context() -> str | None:
    with suppress(CommandFailed):
        context = run(["kubectl", "config", "current-context"]).strip()
        if context.startswith(_KIND):
            Kubectl(context=context)("get", "nodes", "--request-timeout=5s")
            return context
    return None


def _ensure(context: str, tool: _Tool) -> None:
    if Kubectl(context=context)("get", "crd", tool.crd, "--ignore-not-found"):
        return
    chart = [tool.name, "--repo", tool.repository, "--version", tool.version, "--values", str(tool.values)]
    place = ["--kube-context", context, "--namespace", tool.name, "--create-namespace"]
    run(["helm", "install", tool.name, *chart, *place, "--wait", "--timeout", "180s"], timeout_seconds=200)


def _is_here(image: str) -> bool:
    try:
        run([_DOCKER, "image", "inspect", image])
    except (CommandFailed, FileNotFoundError):
        return False
    return True


def _kind(*arguments: str) -> None:
    # kind calls the `docker` it finds first.
    path = os.pathsep.join([str(Path(_DOCKER).parent), os.environ["PATH"]])
    run(["kind", *arguments], env={**os.environ, "PATH": path}, timeout_seconds=300)
