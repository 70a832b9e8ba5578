"""Row n: what a release leaves behind."""

import time

from e2e.support.figures import Figures
from e2e.support.kubectl import Kubectl
from e2e.support.release import Release
from tests.support.waiting import wait_until

_OF_EVERY_NAMESPACE = {
    "configmap/kube-root-ca.crt",
    "networkpolicy.networking.k8s.io/default-deny",
    "serviceaccount/default",
}
_VOLUMES = {"chroma", "object-store", "redis"}


def test_n_uninstall_leaves_the_volumes(own_namespace: Kubectl, figure: Figures) -> None:
    release = Release(own_namespace)
    release.load_images()
    release.helm.install()
    release.wait_ready()
    assert len(_objects(own_namespace)) > len(_VOLUMES)

    started = time.monotonic()
    release.helm.uninstall()
    own_namespace.wait(lambda: not own_namespace.items("pods"), timeout_seconds=120)

    figure("from helm uninstall to no pod", time.monotonic() - started, at_most=90)
    wait_until(lambda: _objects(own_namespace) == _kept(own_namespace), timeout_seconds=30, interval_seconds=1)
    figure("objects left besides the volumes", len(_objects(own_namespace) - _kept(own_namespace)), "", at_most=0)
    claims = own_namespace.items("persistentvolumeclaims")
    assert {claim["metadata"]["labels"]["app.kubernetes.io/component"] for claim in claims} == _VOLUMES
    assert {claim["status"]["phase"] for claim in claims} == {"Bound"}


def _kept(kubectl: Kubectl) -> set[str]:
    return set(kubectl("get", "persistentvolumeclaims", "--output", "name").split())


def _objects(kubectl: Kubectl) -> set[str]:
    """Everything in the namespace but what is in every namespace, and the cluster's own notes."""
    kinds = kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name").split()
    noted = {"events", "events.events.k8s.io"}
    found = kubectl("get", ",".join(kind for kind in kinds if kind not in noted), "--output", "name").split()
    return set(found) - _OF_EVERY_NAMESPACE
