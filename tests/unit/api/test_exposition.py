"""How the metrics are shown: families, zeros, cumulative buckets, and what is missing without the ledger."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ragline.api.exposition import exposition
from ragline.common.metric_types import Metric
from ragline.common.metrics import (
    COST,
    EVENT_STREAMS_OPEN,
    JOBS_ACCEPTED,
    LEDGER_UP,
    METRICS,
    QUEUE_OLDEST_AGE,
    QUEUE_WAIT,
    TOKENS,
)

UP = {LEDGER_UP.key: 1, EVENT_STREAMS_OPEN.key: 0}


def _samples(values: dict[str, int]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text, _ = exposition(values, "text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize("metric", [metric for metric in METRICS if metric.known], ids=lambda metric: metric.name)
def test_metric_whose_labels_are_known_is_there_from_the_beginning(metric: Metric) -> None:
    suffix = "_count" if metric.bounds else ""
    for values in metric.known:
        labels = tuple(sorted(zip(metric.labels, values, strict=True)))
        assert _samples(UP)[f"{metric.name}{suffix}", labels] == 0


def test_values_are_shown_in_their_unit() -> None:
    samples = _samples({**UP, COST.count_field("gpt"): 1_500_000_000, QUEUE_OLDEST_AGE.count_field("rag"): 2_500})
    assert samples[COST.name, (("model", "gpt"),)] == 1.5
    assert samples[QUEUE_OLDEST_AGE.name, (("queue", "rag"),)] == 2.5


def test_buckets_count_everything_below_their_bound() -> None:
    fields = {
        "queue_wait|rag|10": 1,
        "queue_wait|rag|5000": 2,
        "queue_wait|rag|inf": 3,
        "queue_wait|rag|sum": 12_345_678,
    }
    samples = _samples({**UP, **fields})
    of = {dict(labels)["le"]: value for (name, labels), value in samples.items() if _is_bucket(name, labels)}
    assert (of["0.01"], of["2.5"], of["5.0"], of["3600.0"], of["+Inf"]) == (1, 1, 3, 3, 6)
    assert samples[f"{QUEUE_WAIT.name}_sum", (("queue", "rag"),)] == 12_345.678


def test_bucket_of_another_release_counts_for_the_next_bound() -> None:
    samples = _samples({**UP, "queue_wait|rag|7000": 1})
    of = {dict(labels)["le"]: value for (name, labels), value in samples.items() if _is_bucket(name, labels)}
    assert (of["5.0"], of["10.0"]) == (0, 1)


def test_fields_of_another_release_are_passed_over() -> None:
    assert _samples({**UP, "unheard_of|x": 1, "jobs_accepted|ingest|more": 1, "queue_wait": 1}) == _samples(UP)


def test_without_the_ledger_nothing_is_said_of_it() -> None:
    samples = _samples({LEDGER_UP.key: 0, EVENT_STREAMS_OPEN.key: 3})
    assert samples == {(LEDGER_UP.name, ()): 0, (EVENT_STREAMS_OPEN.name, ()): 3}


def test_label_value_is_shown_as_it_is() -> None:
    samples = _samples({**UP, TOKENS.count_field('a"b\\c', "input"): 1})
    assert samples[TOKENS.name, (("model", 'a"b\\c'), ("type", "input"))] == 1


def test_openmetrics_is_spoken_to_who_asks_for_it() -> None:
    text, media_type = exposition(UP, "application/openmetrics-text; version=1.0.0")
    assert media_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")
    assert JOBS_ACCEPTED.name.encode() in text
    assert exposition(UP, "*/*")[1].startswith("text/plain")


def _is_bucket(name: str, labels: tuple[tuple[str, str], ...]) -> bool:
    return name == f"{QUEUE_WAIT.name}_bucket" and ("queue", "rag") in labels
