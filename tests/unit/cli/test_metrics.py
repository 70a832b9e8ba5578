import pytest

from ragline.cli.failures import ApiFailure
from ragline.cli.metrics import Histogram, Metrics

TEXT = """# HELP ragline_queue_waiting Jobs that wait.
# TYPE ragline_queue_waiting gauge
ragline_queue_waiting{queue="rag"} 3
ragline_queue_waiting{queue="document"} 4
# TYPE ragline_steps_total counter
ragline_steps_total{queue="rag",step="answer",outcome="done"} 9
ragline_steps_total{queue="rag",step="answer",outcome="lost"} 1
ragline_steps_total{queue="rag",step="embed",outcome="done"} 5
# TYPE ragline_queue_wait_seconds histogram
ragline_queue_wait_seconds_bucket{queue="rag",le="0.1"} 5
ragline_queue_wait_seconds_bucket{queue="rag",le="1"} 9
ragline_queue_wait_seconds_bucket{queue="rag",le="+Inf"} 10
ragline_queue_wait_seconds_sum{queue="rag"} 12
ragline_queue_wait_seconds_count{queue="rag"} 10
"""


def buckets(*counts: float) -> Histogram:
    return Histogram(buckets=tuple(zip((0.1, 1.0, float("inf")), counts, strict=True)))


def test_values_are_found_by_their_labels() -> None:
    metrics = Metrics(TEXT)
    assert metrics.value("ragline_queue_waiting", queue="rag") == 3
    assert metrics.value("ragline_queue_waiting") == 7
    assert metrics.value("ragline_queue_waiting", queue="default") is None
    assert metrics.value("ragline_absent") is None
    assert metrics.by("ragline_steps_total", "step", "outcome") == {
        ("answer", "done"): 9,
        ("answer", "lost"): 1,
        ("embed", "done"): 5,
    }
    assert metrics.by("ragline_steps_total", "queue") == {("rag",): 15}


def test_a_histogram_has_quantiles() -> None:
    waits = Metrics(TEXT).histogram("ragline_queue_wait_seconds", queue="rag")
    assert waits == buckets(5, 9, 10)
    assert Metrics(TEXT).histogram("ragline_queue_wait_seconds", queue="document") is None


@pytest.mark.parametrize(
    ("histogram", "share", "value"),
    [
        (buckets(10, 10, 10), 0.5, 0.05),
        (buckets(5, 9, 10), 0.5, 0.1),
        (buckets(5, 9, 10), 0.7, 0.55),
        (buckets(5, 9, 10), 0.95, 1.0),
        (buckets(0, 0, 0), 0.5, None),
        (Histogram(buckets=()), 0.5, None),
    ],
)
def test_quantiles_are_interpolated_and_never_beyond_the_last_bound(
    histogram: Histogram, share: float, value: float | None
) -> None:
    assert histogram.quantile(share) == (None if value is None else pytest.approx(value))


def test_the_difference_of_two_readings_is_what_came_between() -> None:
    assert buckets(5, 9, 10).since(buckets(5, 5, 5)) == buckets(0, 4, 5)
    assert buckets(5, 9, 10).since(None) == buckets(5, 9, 10)
    assert buckets(1, 1, 1).since(buckets(5, 9, 10)) == buckets(1, 1, 1)


def test_what_are_no_metrics_is_a_failure() -> None:
    with pytest.raises(ApiFailure, match="not understood"):
        Metrics("<html>\n")
