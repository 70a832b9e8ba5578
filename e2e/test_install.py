"""Row a, and installations that cannot work: they say why, and nothing crashes."""

import time

import pytest

from e2e.support.figures import Figures
from e2e.support.kubectl import Kubectl
from e2e.support.release import Release
from tests.support.waiting import wait_until

_API_PATIENCE_SECONDS = 45
"""Longer than the liveness probe of the API looks on: three looks, 10 s apart."""

_WORKER_PATIENCE_SECONDS = 130
"""The same for a worker: 60 s and three looks, 20 s apart."""

_ONE_QUEUE = (
    "worker.defaults.scaler=none",
    "worker.queues.document.replicas=0",
    "worker.queues.vectorstore.replicas=0",
    "worker.queues.rag.replicas=0",
    "flower.enabled=false",
)


def test_a_install_into_a_restricted_namespace(own_namespace: Kubectl, figure: Figures) -> None:
    # No key is given: the test makes one. The row `docs` runs it where nobody needs one.
    release = Release(own_namespace, "auth.enabled=true")
    release.load_images()
    started = time.monotonic()
    release.helm.install()
    release.wait_ready()
    figure("from helm install to every part ready", time.monotonic() - started, at_most=120)

    said = release.helm.test(timeout_seconds=240)

    figure("from helm install to a green helm test", time.monotonic() - started, at_most=300)
    assert "first citation: lighthouse.pdf, page 2" in said
    assert "the key is revoked" in said
    assert release.restarts() == 0


def test_x1_wrong_image_tag(own_namespace: Kubectl, figure: Figures) -> None:
    release = Release(own_namespace, *_ONE_QUEUE, "worker.image.tag=no-such-tag")
    release.load_images()
    release.helm.install()
    started = time.monotonic()

    with pytest.raises(AssertionError, match=r"ragline-worker-default-.*ImagePullBackOff.*no-such-tag"):
        release.wait_ready()

    figure("from helm install to the reason for a failure", time.monotonic() - started, at_most=60)


def test_x2_wrong_redis_password(own_namespace: Kubectl, figure: Figures) -> None:
    wrong = ("api.extraEnv.REDIS_PASSWORD=wrong", "worker.defaults.extraEnv.REDIS_PASSWORD=wrong")
    release = Release(own_namespace, *_ONE_QUEUE, *wrong)
    release.load_images()
    release.helm.install()

    for component in ("api", "worker-default"):
        _await_in_log(release, component, "invalid username-password pair", figure)
    _stay_alive(release, "api", "worker-default", seconds=_WORKER_PATIENCE_SECONDS)


def test_x3_wrong_chroma_address(own_namespace: Kubectl, figure: Figures) -> None:
    nowhere = ("chroma.enabled=false", "chroma.external.url=http://chroma.invalid:8000")
    release = Release(own_namespace, *_ONE_QUEUE, *nowhere)
    release.load_images()
    release.helm.install()

    _await_in_log(release, "api", "chroma", figure)
    _stay_alive(release, "api", seconds=_API_PATIENCE_SECONDS)


def _await_in_log(release: Release, component: str, reason: str, figure: Figures) -> None:
    seconds = release.kubectl.wait(lambda: reason in release.log(component), timeout_seconds=90)
    figure(f"until the log of {component} names the reason", seconds, at_most=60)


def _stay_alive(release: Release, *components: str, seconds: float) -> None:
    """Nothing restarts for so long, and nothing of these components says that it is ready."""
    started = time.monotonic()

    def long_enough() -> bool:
        assert release.restarts() == 0
        assert not [pod for component in components for pod in release.ready_pods(component)]
        return time.monotonic() - started > seconds

    wait_until(long_enough, timeout_seconds=2 * seconds, interval_seconds=5)
