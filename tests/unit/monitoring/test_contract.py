"""Panels, rules and scalers use what exists: each metric is declared, has the labels, and takes the values."""

import re

import pytest

from charts.monitoring.build import DASHBOARDS
from charts.monitoring.rules import Alert
from ragline.common.metric_types import Kind, Metric
from ragline.common.metrics import METRICS
from tests.support.expressions import EXPRESSIONS, OTHERS, RECORDS, RULES
from tests.support.promql import Use, uses

# Labels whose values the code knows from the beginning; those of others come with use.
CLOSED = {"kind", "state", "queue", "step", "outcome", "reason", "result"}


def _declared() -> dict[str, tuple[Metric, set[str]]]:
    series: dict[str, tuple[Metric, set[str]]] = {}
    for metric in METRICS:
        if metric.kind is Kind.HISTOGRAM:
            series[f"{metric.name}_bucket"] = (metric, {*metric.labels, "le"})
        else:
            series[metric.name] = (metric, set(metric.labels))
    return series


DECLARED = _declared()


every_expression = pytest.mark.parametrize(
    "expr", [expr for _, expr in EXPRESSIONS], ids=[re.sub(r"\W+", "-", place) for place, _ in EXPRESSIONS]
)


@every_expression
def test_what_is_used_is_declared(expr: str) -> None:
    found = [*uses(expr)]
    assert found or expr.startswith("vector")
    for use in found:
        assert use.labels <= _labels(use.name), use


def _labels(name: str) -> set[str]:
    if name in DECLARED:
        return DECLARED[name][1]
    if name in RECORDS:
        return RECORDS[name]
    assert name in OTHERS, f"{name} is not declared"
    return OTHERS[name]


@every_expression
def test_values_that_labels_are_compared_with_exist(expr: str) -> None:
    for use in uses(expr):
        if use.name in DECLARED:
            metric = DECLARED[use.name][0]
            for label, value in use.matchers:
                assert _can_be(metric, label, value), (use.name, label, value)


def _can_be(metric: Metric, label: str, value: str) -> bool:
    """Whether a label of this metric may take such a value."""
    if label == "le":
        return any(re.fullmatch(value, f"{bound:g}") for bound in metric.bounds)
    if label not in CLOSED or not metric.known:
        return True
    known = {values[metric.labels.index(label)] for values in metric.known}
    wanted = value.split("|")
    return set(wanted) <= known


def test_every_metric_is_drawn_or_watched() -> None:
    used = {use.name.removesuffix("_bucket") for _, expr in EXPRESSIONS for use in uses(expr)}
    assert {metric.name for metric in METRICS} - used == set()


def test_legends_and_summaries_name_labels_that_are_kept() -> None:
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels():
            for expr, legend in panel.queries:
                for label in re.findall(r"{{(\w+)}}", legend):
                    assert any(label in _kept(use) for use in uses(expr)), (panel.title, label)
    for rule in RULES:
        if isinstance(rule, Alert):
            for label in re.findall(r"\$labels\.(\w+)", rule.summary):
                assert any(label in _kept(use) for use in uses(rule.expr)), (rule.name, label)


def _kept(use: Use) -> set[str]:
    """Labels that may come through to the result: those that are kept, and all of what is not summed up."""
    return set(use.labels) | _labels(use.name)


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ('rate(a{x="1", namespace="n"}[5m])', {"a": {"x"}}),
        ("sum by (namespace, y) (rate(a[5m]))", {"a": {"y"}}),
        ("max without (pod) (a) - (b or 0 * a)", {"a": set(), "b": set()}),
        ("sum by (y) (a and on (z) b)", {"a": {"y"}, "b": set()}),
        ('sum by (part) (label_replace(sum by (y) (a), "part", "0", "", ""))', {"a": {"y"}}),
        ("sum_over_time(a[1h:5m])", {"a": set()}),
    ],
)
def test_uses_are_found(expr: str, expected: dict[str, set[str]]) -> None:
    found: dict[str, set[str]] = {}
    for use in uses(expr):
        found.setdefault(use.name, set()).update(use.labels)
    assert found == expected
