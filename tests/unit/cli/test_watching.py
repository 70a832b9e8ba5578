import time
from collections.abc import Sequence

import httpx2
import pytest

from ragline.cli.client import RaglineClient
from ragline.cli.failures import ApiFailure
from ragline.cli.watching import ErrorView, TopView, Watcher
from tests.support.fake_api import FakeApi, problem


def info(waiting: int, workers: Sequence[str] = ("rag@one",)) -> httpx2.Response:
    queue = {"name": "rag", "purpose": "p", "tasks": [], "waiting": waiting, "in_flight": 2, "workers": list(workers)}
    return httpx2.Response(200, json={"queues": [queue], "registered_tasks": []})


def metrics(*, claims: int, lost: int = 0, indexed: int = 5, ok: int = 200) -> httpx2.Response:
    text = f"""# TYPE ragline_ledger_up gauge
ragline_ledger_up 1
# TYPE ragline_queue_held gauge
ragline_queue_held{{queue="rag"}} 1
# TYPE ragline_queue_oldest_age_seconds gauge
ragline_queue_oldest_age_seconds{{queue="rag"}} 12.5
# TYPE ragline_queue_wait_seconds histogram
ragline_queue_wait_seconds_bucket{{queue="rag",le="0.1"}} {claims}
ragline_queue_wait_seconds_bucket{{queue="rag",le="+Inf"}} {claims}
ragline_queue_wait_seconds_sum{{queue="rag"}} 1
ragline_queue_wait_seconds_count{{queue="rag"}} {claims}
# TYPE ragline_steps_total counter
ragline_steps_total{{queue="rag",step="answer",outcome="done"}} 100
ragline_steps_total{{queue="rag",step="answer",outcome="lost"}} {lost}
# TYPE ragline_http_requests_total counter
ragline_http_requests_total{{method="GET",route="/readyz",status="{ok}"}} 3
# TYPE ragline_documents gauge
ragline_documents{{state="indexed"}} {indexed}
ragline_documents{{state="failed"}} 0
"""
    return httpx2.Response(200, text=text)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic time, to be set."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def watcher(infos: Sequence[httpx2.Response], readings: Sequence[httpx2.Response]) -> Watcher:
    api = FakeApi({"GET /tasks/info": infos, "GET /metrics": readings})
    return Watcher(RaglineClient("http://127.0.0.1:8000", transport=api.transport, pause=lambda _: None))


def looks(watch: Watcher, clock: list[float], *, times: int, seconds: float) -> TopView:
    view = watch.look()
    for _ in range(times - 1):
        clock[0] += seconds
        view = watch.look()
    return view


def test_two_readings_give_rates(clock: list[float]) -> None:
    watch = watcher([info(3), info(13)], [metrics(claims=10), metrics(claims=30)])
    view = looks(watch, clock, times=2, seconds=10)
    (queue,) = view.queues
    assert (queue.waiting, queue.held, queue.in_flight, queue.workers) == (13, 1, 2, ("rag@one",))
    assert (queue.in_per_second, queue.out_per_second, queue.oldest_seconds) == (3.0, 2.0, 12.5)
    assert queue.wait_p50_seconds == pytest.approx(0.05)
    assert queue.wait_p95_seconds == pytest.approx(0.095)
    assert view.documents == {"indexed": 5, "failed": 0}
    assert (view.rate_seconds, view.gaps) == (10, ())


def test_one_reading_has_waits_of_all_time_and_no_rates(clock: list[float]) -> None:
    (queue,) = looks(watcher([info(3)], [metrics(claims=10)]), clock, times=1, seconds=0).queues
    assert (queue.in_per_second, queue.out_per_second) == (None, None)
    assert queue.wait_p50_seconds == pytest.approx(0.05)


def test_rates_look_back_a_minute_and_errors_five(clock: list[float]) -> None:
    counts = [metrics(claims=10 * number, lost=number) for number in range(40)]
    view = looks(watcher([info(0)], counts), clock, times=40, seconds=10)
    assert (view.rate_seconds, view.error_seconds) == (60, 300)
    assert view.queues[0].out_per_second == 1.0
    assert view.errors == (ErrorView(what="step rag answer lost", lately=30, ever=39),)


def test_only_what_went_wrong_is_an_error(clock: list[float]) -> None:
    readings = [metrics(claims=0), metrics(claims=0, lost=2, ok=503)]
    view = looks(watcher([info(0)], readings), clock, times=2, seconds=5)
    assert view.errors == (
        ErrorView(what="HTTP GET /readyz 503", lately=3, ever=3),
        ErrorView(what="step rag answer lost", lately=2, ever=2),
    )
    assert looks(watcher([info(0)], [metrics(claims=0)]), clock, times=1, seconds=0).errors == ()


def test_counts_that_began_anew_are_taken_as_they_are(clock: list[float]) -> None:
    readings = [metrics(claims=50, lost=7), metrics(claims=10, lost=2)]
    view = looks(watcher([info(0)], readings), clock, times=2, seconds=10)
    assert view.queues[0].out_per_second == 1.0
    assert view.errors == (ErrorView(what="step rag answer lost", lately=2, ever=2),)


def test_an_api_without_metrics_still_shows_its_queues(clock: list[float]) -> None:
    view = looks(watcher([info(3)], [problem(404, "not_found")]), clock, times=2, seconds=5)
    (queue,) = view.queues
    assert (queue.waiting, queue.held, queue.oldest_seconds, queue.out_per_second) == (3, None, None, None)
    assert (view.documents, view.errors) == (None, None)
    assert "no /metrics" in view.gaps[0]


def test_a_ledger_that_the_api_cannot_read_is_said(clock: list[float]) -> None:
    away = httpx2.Response(200, text="# TYPE ragline_ledger_up gauge\nragline_ledger_up 0\n")
    view = looks(watcher([info(3)], [away]), clock, times=1, seconds=0)
    assert "could not read its ledger" in view.gaps[0]


def test_an_api_that_fails_is_a_failure(clock: list[float]) -> None:
    with pytest.raises(ApiFailure, match="dependency_unavailable"):
        watcher([problem(503, "dependency_unavailable")], [metrics(claims=0)]).look()
