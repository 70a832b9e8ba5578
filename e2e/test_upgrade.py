"""Row k: an upgrade and a rollback under load."""

import base64
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from e2e.support.api import Api, forwarded
from e2e.support.figures import Figures
from e2e.support.helm import Helm
from e2e.support.ingesting import indexed
from e2e.support.kubectl import Kubectl
from e2e.support.pods import Script
from e2e.support.release import Release
from tests.support import pdfs

_LOAD_SECONDS = 150
_QUIET_SECONDS = 10
_FEWEST_DOCUMENTS = 50
_STORES = ("chroma", "object-store", "redis")


def test_k_upgrade_and_rollback_under_load(own_namespace: Kubectl, figure: Figures, tmp_path: Path) -> None:
    release = Release(own_namespace, "api.replicas=2")
    release.load_images()
    _previous(release.helm, tmp_path).install()
    release.wait_ready()
    stores = _pods(release, *_STORES)

    load = _load(release)
    _paused(_QUIET_SECONDS)
    figure("upgrade under load: every part ready again", _rolled_out(release, release.helm.install), at_most=120)
    figure("rollback under load: every part ready again", _rolled_out(release, release.helm.rollback), at_most=120)
    told = load.result()

    _check_told(figure, told)
    _check_kept(release, figure, told["documents"])
    assert _pods(release, *_STORES) == stores, "an upgrade of the application restarted a store"
    _rolled_out(release, release.helm.install)
    before = _pods(release, "api", *_STORES)
    _rolled_out(release, release.helm.install)
    figure("pods replaced by a second upgrade", len(before - _pods(release, "api", *_STORES)), "", at_most=0)


def _check_kept(release: Release, figure: Figures, documents: list[str]) -> None:
    with forwarded(release.kubectl, "service/ragline-api", 80) as url, Api(url) as api:
        release.kubectl.wait(lambda: not api.missing_parts(), timeout_seconds=60)
        over = {"indexed", "failed"}
        release.kubectl.wait(
            lambda: all(document["state"] in over for document in api.documents("load")), timeout_seconds=120
        )
        figure("documents accepted under load", len(documents), "")
        figure("documents lost", len(set(documents) - indexed(api, "load")), "", at_most=0)
        assert api.verified("load").consistent


def _check_told(figure: Figures, told: dict[str, Any]) -> None:
    figure("requests under load", told["requests"], "")
    print(*told["failures"][:5], sep="\n")
    figure("requests that failed", len(told["failures"]), "", at_most=0)
    assert len(told["documents"]) > _FEWEST_DOCUMENTS


def _load(release: Release) -> Script:
    note = base64.b64encode(pdfs.text_pdf(["The note says that the ferry leaves at noon."])).decode()
    labels = {
        "app.kubernetes.io/name": "ragline",
        "app.kubernetes.io/instance": release.name,
        "app.kubernetes.io/component": "test",
    }
    arguments = (str(_LOAD_SECONDS), note)
    return Script(release.kubectl, "load", *arguments, script="load", image=release.image("api"), labels=labels)


def _paused(seconds: float) -> None:
    """Let the load run for a while: nothing to wait for."""
    threading.Event().wait(seconds)


def _pods(release: Release, *components: str) -> set[str]:
    return {str(pod["metadata"]["uid"]) for component in components for pod in release.pods(component)}


def _previous(helm: Helm, folder: Path) -> Helm:
    """The release before: E2E_PREVIOUS_CHART, or this chart under another version and with another setting."""
    given = os.environ.get("E2E_PREVIOUS_CHART")
    chart = Path(given) if given else helm.package("0.0.1", folder)
    return replace(helm, chart=chart, settings=(*helm.settings, "config.retrievalTopK=2"))


def _rolled_out(release: Release, change: Callable[[], None]) -> float:
    started = time.monotonic()
    change()
    release.wait_ready()
    return time.monotonic() - started
