"""Row m: the volumes, copied while nothing runs, make the same service in another namespace."""

import subprocess
import time
from collections.abc import Iterator

import pytest

from e2e.support.api import Api, forwarded
from e2e.support.figures import Figures
from e2e.support.ingesting import all_indexed, check_exactly_once, indexed, upload_notes
from e2e.support.kubectl import Kubectl
from e2e.support.pods import hands_on
from e2e.support.release import Release, namespace
from ragline.common.queues import Queue

_DOCUMENTS = 20
_QUESTION = "How many keys does locker 3 hold?"
_VOLUMES = {"redis": "redis", "chroma": "chroma", "object-store": "objectStore"}
_CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: restored-{name}}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}
"""


@pytest.fixture
def elsewhere(cluster: str) -> Iterator[Kubectl]:
    """A second namespace, empty."""
    with namespace(cluster, "ragline-e2e-restored") as kubectl:
        yield kubectl


def test_m_backup_and_restore(own_namespace: Kubectl, elsewhere: Kubectl, figure: Figures) -> None:
    release = Release(own_namespace)
    release.load_images()
    release.helm.install()
    release.wait_ready()
    with forwarded(own_namespace, "service/ragline-api", 80) as url, Api(url) as api:
        own_namespace.wait(lambda: not api.missing_parts(), timeout_seconds=60)
        submissions = upload_notes(api, "notes", _DOCUMENTS)
        all_indexed(api, submissions, timeout_seconds=180)
        before = api.ask_citations("notes", _QUESTION)
    assert before

    started = time.monotonic()
    _stop(release)
    for name in _VOLUMES:
        _copy(release, elsewhere, name)
    figure("from the order to stop to three copied volumes", time.monotonic() - started)

    started = time.monotonic()
    claims = [f"{value}.persistence.existingClaim=restored-{name}" for name, value in _VOLUMES.items()]
    restored = Release(elsewhere, *claims)
    restored.helm.install()
    restored.wait_ready()
    with forwarded(elsewhere, "service/ragline-api", 80) as url, Api(url) as api:
        elsewhere.wait(lambda: not api.missing_parts(), timeout_seconds=60)
        figure("from helm install on the copies to a service that is ready", time.monotonic() - started, at_most=120)
        assert api.ask_citations("notes", _QUESTION) == before
        check_exactly_once(api, "notes", submissions)
        figure("documents of the backup that can be asked about", len(indexed(api, "notes")), "")
        all_indexed(api, upload_notes(api, "new", 2), timeout_seconds=120)


def _copy(release: Release, elsewhere: Kubectl, name: str) -> None:
    """Copy a volume, extended attributes too: the object store keeps its metadata there."""
    elsewhere("apply", "--filename", "-", stdin=_CLAIM.format(name=name))
    here, image = release.kubectl, release.image("api")
    with (
        hands_on(here, f"ragline-{name}", image=image) as source,
        hands_on(elsewhere, f"restored-{name}", image=image) as target,
    ):
        attributes = ["--xattrs", "--xattrs-include=user.*"]
        # Without the folder of the volume itself: that one is the cluster's, and we may not touch its dates.
        inside = "cd /data && find . -mindepth 1 -maxdepth 1 -print0 | tar --null --files-from=- --create "
        pack = ["exec", source, "--", "sh", "-c", inside + " ".join(attributes)]
        unpack = ["exec", "-i", target, "--", "tar", "-C", "/data", *attributes, "--extract"]
        with subprocess.Popen(here.command(*pack), stdout=subprocess.PIPE) as packing:
            subprocess.run(elsewhere.command(*unpack), stdin=packing.stdout, check=True, timeout=120)
        assert packing.returncode == 0


def _stop(release: Release) -> None:
    """What docs/production-deployment.md says before a snapshot."""
    for queue in Queue:
        release.pause(queue, 0)
    release.kubectl("scale", "deployment", "ragline-api", "--replicas=0")
    _await_none(release, "api", *(f"worker-{queue}" for queue in Queue))
    release.kubectl("scale", "statefulset", *(f"ragline-{name}" for name in _VOLUMES), "--replicas=0")
    _await_none(release, *_VOLUMES)


def _await_none(release: Release, *components: str) -> None:
    selector = f"app.kubernetes.io/component in ({', '.join(components)})"
    release.kubectl.wait(lambda: not release.kubectl.items("pods", selector=selector), timeout_seconds=120)
