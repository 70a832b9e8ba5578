"""What Prometheus and Grafana get, and that nobody else gets at the metrics."""

import json
from typing import Any

import pytest
import yaml

from charts.monitoring.build import DASHBOARDS, FILES
from charts.monitoring.rules import RUNBOOKS
from tests.chart.variants import ALL_APIS, MONITORING
from tests.support.chart import Object, by_kind, find, merged, nested, pod_templates, render

PAGES = "https://github.com/OWNER/ragline/blob/main/docs/runbooks"

OFF = {"enabled": False}


def _objects(values: dict[str, Any] | None = None) -> tuple[Object, ...]:
    return render(merged(MONITORING, values or {}), api_versions=ALL_APIS)


def test_by_itself_the_chart_installs_nothing_of_it() -> None:
    objects = render(api_versions=ALL_APIS)
    assert by_kind(objects, "ServiceMonitor", "PrometheusRule") == []
    assert "monitoring" not in {found["metadata"]["labels"]["app.kubernetes.io/component"] for found in objects}


def test_the_api_is_scraped_and_only_it() -> None:
    objects = _objects(nested("monitoring.serviceMonitor.interval", "15s"))
    (monitor,) = by_kind(objects, "ServiceMonitor")
    selector = monitor["spec"]["selector"]["matchLabels"]
    services = [
        service["metadata"]["name"]
        for service in by_kind(objects, "Service")
        if selector.items() <= service["metadata"]["labels"].items()
    ]
    assert services == ["ragline-api"]
    ports = [port["name"] for port in find(objects, "Service", "ragline-api")["spec"]["ports"]]
    assert monitor["spec"]["endpoints"] == [{"port": ports[0], "path": "/metrics", "interval": "15s"}]


def test_the_rules_are_the_files_with_pages_on_the_web() -> None:
    (rule,) = by_kind(_objects(), "PrometheusRule")
    text = (FILES / "rules.yaml").read_text(encoding="utf-8")
    assert rule["spec"] == yaml.safe_load(text.replace(RUNBOOKS, PAGES))
    assert "{{ $labels.queue }}" in json.dumps(rule["spec"])
    (ours,) = by_kind(
        _objects(nested("monitoring.rules.runbooks", "https://wiki.example.org/pages/")), "PrometheusRule"
    )
    assert "https://wiki.example.org/pages/RaglineQueueAsleep.md" in json.dumps(ours["spec"])


def test_each_dashboard_is_a_config_map_of_its_own() -> None:
    found = [one for one in by_kind(_objects(), "ConfigMap") if "grafana_dashboard" in one["metadata"]["labels"]]
    assert {one["metadata"]["name"] for one in found} == {f"ragline-dashboard-{one.name}" for one in DASHBOARDS}
    for one in found:
        ((name, text),) = one["data"].items()
        file = FILES / "dashboards" / name.removeprefix("ragline-")
        assert json.loads(text) == json.loads(file.read_text(encoding="utf-8"))


def test_labels_choose_and_cannot_replace_ours() -> None:
    labels = {"release": "prometheus", "app.kubernetes.io/component": "mine"}
    parts = {part: {"labels": labels} for part in ("serviceMonitor", "rules", "dashboards")}
    objects = [found for found in _objects({"monitoring": parts}) if "release" in found["metadata"]["labels"]]
    assert len(objects) == 2 + len(DASHBOARDS)
    assert {found["metadata"]["labels"]["app.kubernetes.io/component"] for found in objects} == {"monitoring"}


def test_pods_are_annotated_on_demand() -> None:
    objects = render(nested("monitoring.podAnnotations", value=True), api_versions=())
    annotations = {name: pod["metadata"].get("annotations", {}) for name, pod in pod_templates(objects).items()}
    scraped = {name: each for name, each in annotations.items() if "prometheus.io/scrape" in each}
    assert list(scraped) == ["Deployment/ragline-api"]
    (port,) = pod_templates(objects)["Deployment/ragline-api"]["spec"]["containers"][0]["ports"]
    assert scraped["Deployment/ragline-api"]["prometheus.io/port"] == str(port["containerPort"])
    assert scraped["Deployment/ragline-api"]["prometheus.io/path"] == "/metrics"


@pytest.mark.parametrize("how", ["serviceMonitor", "podAnnotations"])
def test_prometheus_gets_to_the_api(how: str) -> None:
    values = nested(f"monitoring.{how}", True if how == "podAnnotations" else {"enabled": True})
    objects = render(merged(values, nested("networkPolicy.prometheusNamespace", "watch")), api_versions=ALL_APIS)
    policy = find(objects, "NetworkPolicy", "ragline-prometheus-to-api")
    (entrance,) = policy["spec"]["ingress"]
    assert entrance["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "watch"}}}]
    assert entrance["ports"] == [{"port": 8000}]
    assert policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "api"


def test_without_scraping_there_is_no_way_in() -> None:
    off = {"monitoring": {"serviceMonitor": OFF, "podAnnotations": False}}
    names = {policy["metadata"]["name"] for policy in by_kind(_objects(off), "NetworkPolicy")}
    assert names
    assert "ragline-prometheus-to-api" not in names
