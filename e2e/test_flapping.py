"""Row i: many documents while their workers come and go."""

import time
from functools import partial

from e2e.support.api import Api
from e2e.support.figures import Figures
from e2e.support.ingesting import all_indexed, check_exactly_once, indexed, upload_notes
from e2e.support.release import Release
from ragline.common.queues import Queue

_DOCUMENTS = 200
_PER_FLAP = 30
"""Documents after which the workers are taken away, in the middle of the others."""

_WORKERS = 4
_QUEUES = (Queue.DOCUMENT, Queue.VECTORSTORE)


def test_i_workers_flap_under_many_documents(release: Release, api: Api, figure: Figures, collection: str) -> None:
    _take_away(release)
    try:
        submissions = upload_notes(api, collection, _DOCUMENTS)
        started = time.monotonic()
        under_way = []
        for wanted in range(_PER_FLAP, _DOCUMENTS, _PER_FLAP):
            _pause(release, _WORKERS)
            release.kubectl.wait(partial(_are_indexed, api, collection, wanted), timeout_seconds=180)
            under_way.append(_DOCUMENTS - len(indexed(api, collection)))
            _take_away(release)
    finally:
        _pause(release, None)
    all_indexed(api, submissions, timeout_seconds=300)

    figure("from the last upload to all documents indexed", time.monotonic() - started, at_most=400)
    figure("documents accepted", len(submissions), "")
    flaps = sum(count > 0 for count in under_way)
    figure(f"times that {_WORKERS} workers went to 0 with documents under way", flaps, "")
    assert flaps > 1, under_way
    figure("documents lost", len({one.document_id for one in submissions} - indexed(api, collection)), "", at_most=0)
    figure("documents listed twice", len(api.documents(collection)) - len(indexed(api, collection)), "", at_most=0)
    check_exactly_once(api, collection, submissions)


def _are_indexed(api: Api, collection: str, wanted: int) -> bool:
    return len(indexed(api, collection)) >= wanted


def _pause(release: Release, workers: int | None) -> None:
    for queue in _QUEUES:
        release.pause(queue, workers)


def _take_away(release: Release) -> None:
    _pause(release, 0)
    release.kubectl.wait(lambda: not any(release.pods(f"worker-{queue}") for queue in _QUEUES), timeout_seconds=120)
