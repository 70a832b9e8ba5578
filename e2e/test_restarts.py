"""Rows f, g and h: a restart of each store."""

import time

from e2e.support.api import Api
from e2e.support.figures import Figures
from e2e.support.ingesting import all_indexed, check_exactly_once, indexed, upload_notes
from e2e.support.release import Release
from tests.support.waiting import wait_until

_NOTES = 100
_RECOVERY_SECONDS = 240


def test_f_redis_restarts_in_mid_ingest(release: Release, api: Api, figure: Figures, collection: str) -> None:
    _restart_in_mid_ingest(release, api, figure, collection, "redis")


def test_g_chroma_keeps_its_data(release: Release, api: Api, figure: Figures, collection: str) -> None:
    all_indexed(api, upload_notes(api, collection, 5), timeout_seconds=60)
    before = api.ask_citations(collection, "How many keys does locker 3 hold?")
    assert before

    release.delete_pods("chroma")
    deleted = time.monotonic()
    wait_until(lambda: "chroma" in api.missing_parts(), timeout_seconds=60, interval_seconds=0.1)
    figure("from kubectl delete pod to an API that is not ready", time.monotonic() - deleted, at_most=30)
    release.kubectl.wait(lambda: not api.missing_parts(), timeout_seconds=120)
    figure("from kubectl delete pod to an API that is ready again", time.monotonic() - deleted, at_most=120)

    assert api.ask_citations(collection, "How many keys does locker 3 hold?") == before
    assert api.verified(collection).consistent


def test_h_object_store_restarts_in_mid_ingest(release: Release, api: Api, figure: Figures, collection: str) -> None:
    _restart_in_mid_ingest(release, api, figure, collection, "object-store")


def _restart_in_mid_ingest(release: Release, api: Api, figure: Figures, collection: str, component: str) -> None:
    submissions = upload_notes(api, collection, _NOTES)
    release.kubectl.wait(lambda: bool(indexed(api, collection)), timeout_seconds=60)
    under_way = _NOTES - len(indexed(api, collection))
    figure(f"documents under way at the restart, of {_NOTES}", under_way, "")
    assert 0 < under_way < _NOTES

    restarts = release.restarts()
    seconds = release.replace(component)
    figure(f"from kubectl delete pod to a new {component} pod that is ready", seconds, at_most=60)
    deleted = time.monotonic() - seconds
    all_indexed(api, submissions, timeout_seconds=_RECOVERY_SECONDS)

    figure("from kubectl delete pod to all documents indexed", time.monotonic() - deleted, at_most=_RECOVERY_SECONDS)
    check_exactly_once(api, collection, submissions)
    assert release.restarts() <= restarts
