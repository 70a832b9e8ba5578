"""Where spans go: nowhere, to the release's own Jaeger, or to a collector outside."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.chart.variants import COLLECTOR
from tests.support.chart import Object, find, merged, nested, pod_specs, render

JAEGER = {"jaeger": {"enabled": True}}

APPLICATION = {
    "Deployment/ragline-api",
    *(f"Deployment/ragline-worker-{queue}" for queue in ("default", "document", "rag", "vectorstore")),
}


def _settings(objects: Sequence[Object]) -> dict[str, str]:
    data = find(objects, "ConfigMap", "ragline-config")["data"]
    return {name: value for name, value in data.items() if name.startswith(("OTEL_", "TRACE_"))}


def _files(spec: Object) -> set[str]:
    projected = [volume["projected"] for volume in spec["volumes"] if "projected" in volume]
    return {item["path"] for volume in projected for source in volume["sources"] for item in source["secret"]["items"]}


@pytest.mark.parametrize("values", [{}, {"tracing": {"sampleRatio": 0.5, "content": True}}])
def test_without_a_place_to_go_nothing_is_traced(values: dict[str, Any]) -> None:
    assert _settings(render(values)) == {}


def test_the_releases_own_jaeger_is_found_by_itself() -> None:
    objects = render(JAEGER, release="mine")
    data = find(objects, "ConfigMap", "mine-ragline-config")["data"]
    assert data["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://mine-ragline-jaeger:4318"
    assert find(objects, "Service", "mine-ragline-jaeger")["spec"]["ports"][1]["port"] == 4318
    assert _settings(render(JAEGER)) == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://ragline-jaeger:4318",
        "OTEL_RESOURCE_ATTRIBUTES": "service.namespace=ragline,k8s.namespace.name=documents",
        "TRACE_CONTENT": "false",
        "TRACE_SAMPLE_RATIO": "1",
    }


def test_a_collector_outside() -> None:
    settings = _settings(render(merged(COLLECTOR, nested("tracing.content", value=True))))
    assert settings["OTEL_EXPORTER_OTLP_ENDPOINT"] == "https://otlp.example.org"
    assert settings["TRACE_SAMPLE_RATIO"] == "0.1"
    assert settings["TRACE_CONTENT"] == "true"


def test_its_headers_are_a_file_of_those_who_send() -> None:
    given, without = (pod_specs(render(values)) for values in (COLLECTOR, {}))
    assert {name for name in given if "otel_exporter_otlp_headers" in _files(given[name])} == APPLICATION
    assert not [name for name in without if "otel_exporter_otlp_headers" in _files(without[name])]


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("http://collector.monitoring:4318", 4318),
        ("https://otlp.example.org", 443),
        ("http://otlp.example.org/v4318", 80),
        ("http://[2001:db8::4318]", 80),
        ("https://[2001:db8::1]:4317/otlp", 4317),
    ],
)
def test_the_way_out_is_that_of_the_address(endpoint: str, port: int) -> None:
    policy = find(render(nested("tracing.endpoint", endpoint)), "NetworkPolicy", "ragline-traces-outside")
    (rule,) = policy["spec"]["egress"]
    assert rule["ports"] == [{"port": port}]
    assert {"namespaceSelector": {}} in rule["to"]
    (components,) = policy["spec"]["podSelector"]["matchExpressions"]
    assert {f"Deployment/ragline-{name}" for name in components["values"]} == APPLICATION


def test_a_collector_may_be_named() -> None:
    collector = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    objects = render(merged(COLLECTOR, {"networkPolicy": {"collector": collector}}))
    assert find(objects, "NetworkPolicy", "ragline-traces-outside")["spec"]["egress"][0]["to"] == collector
