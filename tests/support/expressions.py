"""Every expression that the chart gives to Prometheus and Grafana, and the metrics in them that are not ours."""

from collections.abc import Iterator

from charts.monitoring.alerts import rule_groups
from charts.monitoring.build import DASHBOARDS
from charts.monitoring.promql import Clock
from charts.monitoring.rules import Record

__all__ = ["EXPRESSIONS", "OTHERS", "RECORDS", "RULES"]

# What others show: the kubelet, KEDA 2.20 (pkg/metricscollector/prommetrics.go), Prometheus itself.
OTHERS = {
    "kubelet_volume_stats_available_bytes": {"persistentvolumeclaim"},
    "kubelet_volume_stats_capacity_bytes": {"persistentvolumeclaim"},
    "keda_scaled_object_errors_total": {"scaledObject"},
    "keda_scaler_metrics_value": {"scaledObject", "scaler", "metric", "triggerIndex", "type"},
    "ALERTS": {"alertname", "alertstate", "severity"},
}

RULES = [rule for rules in rule_groups(Clock()).values() for rule in rules]

RECORDS = {rule.name: set(rule.labels) for rule in RULES if isinstance(rule, Record)}


def _expressions() -> Iterator[tuple[str, str]]:
    """Every expression with the place it stands in."""
    for rule in RULES:
        yield rule.name, rule.expr
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels():
            for expr, _ in panel.queries:
                yield f"{dashboard.name}: {panel.title}", expr


EXPRESSIONS = [*_expressions()]
