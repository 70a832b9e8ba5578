"""What a process keeps until it is added to what all have measured."""

import os
import threading
from collections.abc import Mapping

import pytest

from ragline.common import measurements as module
from ragline.common.measurements import MEASUREMENTS, Measurements, measure_call
from ragline.common.metrics import COST, DEPENDENCY_DURATION, HTTP_DURATION, PAGES, TOKENS
from ragline.common.span_names import Dependency
from tests.support.measured import taken


def test_counts_add_up_until_they_are_taken() -> None:
    measurements = Measurements()
    measurements.count(PAGES, amount=3)
    measurements.count(PAGES)
    measurements.count(TOKENS, "gpt", "input", amount=7)
    assert taken(measurements) == {"pages": 4, "tokens|gpt|input": 7}
    assert taken(measurements) == {}


def test_amounts_are_kept_as_whole_numbers() -> None:
    measurements = Measurements()
    measurements.count(COST, "gpt", amount=0.000_000_075)
    assert taken(measurements) == {"cost|gpt": 75}


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(0, "5000"), (0.005, "5000"), (0.005_001, "10000"), (60, "60000000"), (61, "inf")]
)
def test_observation_falls_into_the_bucket_whose_bound_is_next(seconds: float, bucket: str) -> None:
    measurements = Measurements()
    measurements.observe(HTTP_DURATION, seconds, "GET", "/v1/jobs")
    series = "http_request_duration|GET|/v1/jobs"
    assert taken(measurements) == {f"{series}|{bucket}": 1, f"{series}|sum": round(seconds * 1_000_000)}


def test_a_batch_stays_as_it_is_until_it_is_confirmed() -> None:
    measurements = Measurements()
    assert measurements.batch() is None
    measurements.count(PAGES, amount=3)
    first = measurements.batch()
    measurements.count(PAGES)
    assert first is not None
    assert (first.amounts, measurements.batch()) == ({"pages": 3}, first)
    measurements.confirm(first)
    second = measurements.batch()
    assert second is not None
    assert second.amounts == {"pages": 1}
    assert second.id != first.id


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_FIELDS", 2)
    measurements = Measurements()
    for model in ("a", "b", "c", "a"):
        measurements.count(TOKENS, model, "input")
    assert taken(measurements) == {"tokens|a|input": 2, "tokens|b|input": 1}


def test_threads_and_several_writers_lose_nothing_and_add_nothing_twice() -> None:
    measurements = Measurements()
    added: dict[str, Mapping[str, int]] = {}

    def measure() -> None:
        for _ in range(2_000):
            measurements.count(PAGES)
            if (batch := measurements.batch()) is not None:
                # Redis adds a batch once, however often it is sent.
                added[batch.id] = batch.amounts
                measurements.confirm(batch)

    threads = [threading.Thread(target=measure) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(amounts["pages"] for amounts in added.values()) == 16_000


def test_a_writer_that_comes_late_does_not_confirm_the_next_batch() -> None:
    measurements = Measurements()
    measurements.count(PAGES)
    first, same = measurements.batch(), measurements.batch()
    assert first is not None
    assert same is first
    measurements.confirm(first)
    measurements.count(PAGES)
    second = measurements.batch()
    measurements.confirm(same)
    assert second is not None
    assert measurements.batch() is second


def test_forked_process_begins_with_nothing() -> None:
    """Else a pool's children would add again what their parent adds."""
    MEASUREMENTS.count(PAGES)
    read, write = os.pipe()
    # The lock is held in the instant of the fork, as it may be by another thread.
    with vars(module)["MEASUREMENTS"]._lock:
        pid = os.fork()
        if pid == 0:
            os.write(write, str(len(taken(MEASUREMENTS))).encode())
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 10) == b"0"
    assert taken(MEASUREMENTS)["pages"] >= 1


def test_call_is_counted_and_timed() -> None:
    taken(MEASUREMENTS)
    measure_call(Dependency.CHROMA, "query", "transient", 0.02)
    measured = taken(MEASUREMENTS)
    assert measured["dependency_calls|chroma|query|transient"] == 1
    assert measured[f"{DEPENDENCY_DURATION.key}|chroma|query|25000"] == 1
