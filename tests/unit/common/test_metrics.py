"""The declared metrics: their names, labels and fields, and the page about them."""

import re

import pytest

from docs.metrics import PAGE, page
from ragline.common.metric_types import SEPARATOR, Kind, Metric
from ragline.common.metrics import HTTP_DURATION, JOBS_ACCEPTED, METRICS, QUEUE_WAIT, TOKENS

EVERY = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)

_UNBOUNDED = re.compile(r"id$|tenant|caller|collection|document|name|path|url|key")
"""Labels with as many values as there are documents, callers or requests."""


@EVERY
def test_name_says_its_kind_and_unit(metric: Metric) -> None:
    assert re.fullmatch(r"ragline_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert metric.unit in metric.name.removesuffix("_total").split("_") or not metric.unit
    assert metric.unit or not metric.name.endswith(("_seconds", "_bytes"))


@EVERY
def test_help_is_one_line(metric: Metric) -> None:
    assert metric.help[0].isupper() or metric.help[0].isdigit()
    assert "\n" not in metric.help
    assert not metric.help.endswith(".")


@EVERY
def test_labels_have_few_values(metric: Metric) -> None:
    assert [label for label in metric.labels if _UNBOUNDED.search(label)] == []
    assert {len(values) for values in metric.known} <= {len(metric.labels)}
    assert not any(SEPARATOR in value for values in metric.known for value in values)


@EVERY
def test_only_histograms_have_buckets_and_they_go_up(metric: Metric) -> None:
    assert bool(metric.bounds) == (metric.kind is Kind.HISTOGRAM)
    assert list(metric.bounds) == sorted(set(metric.bounds))
    assert [limit / metric.per_unit for limit in metric.limits] == list(metric.bounds), "a bound is no whole number"


def test_names_and_keys_are_unique_and_sorted() -> None:
    names = [metric.name for metric in METRICS]
    assert names == sorted(set(names))
    assert len({metric.key for metric in METRICS}) == len(METRICS)


def test_field_of_a_counter_holds_its_labels() -> None:
    assert JOBS_ACCEPTED.count_field("ingest") == "jobs_accepted|ingest"
    assert TOKENS.count_field("some|model", "input") == "tokens|some_model|input"


def test_histogram_has_a_field_for_each_bucket_and_the_sum() -> None:
    *buckets, above, total = QUEUE_WAIT.bucket_fields("rag")
    assert (buckets[0], buckets[-1]) == ("queue_wait|rag|10", "queue_wait|rag|3600000")
    assert (above, total) == ("queue_wait|rag|inf", "queue_wait|rag|sum")


def test_key_leaves_the_unit_out() -> None:
    assert HTTP_DURATION.key == "http_request_duration"


def test_page_is_written_from_the_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make metrics-docs`"
