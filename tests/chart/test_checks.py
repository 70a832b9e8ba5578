"""What cannot work is refused at render, with one sentence that names the value."""

import re
from typing import Any

import pytest

from ragline.common.queues import Queue
from tests.chart.variants import ALL_APIS, COLLECTOR, SENTINELS
from tests.support.chart import CHART, KEDA, RenderError, merged, nested, render

OWN_LABELS = (
    *(f"app.kubernetes.io/{name}" for name in ("name", "instance", "component", "managed-by")),
    "helm.sh/chart",
)

OWN_SECRETS = {
    "auth": "auth",
    "flower": "flower",
    "objectStore": "object-store",
    "openai": "openai",
    "redis": "redis",
}

IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"redis": {"persistence": {"enabled": False}}}, "redis.persistence.enabled"),
    (nested("redis.maxMemory", "1gb"), "redis.maxMemory must be smaller"),
    (nested("redis.resources.limits.memory", "512Mi"), "redis.maxMemory must be smaller"),
    ({"redis": {"enabled": False}}, "redis.external.host"),
    ({"redis": {"external": {"host": "x"}}}, "redis.external.host"),
    (nested("redis.external.sentinel.master", "x"), "redis.external.sentinel.addresses"),
    (nested("redis.external.sentinel.auth", value=True), "redis_sentinel_password"),
    (merged(SENTINELS, nested("redis.external.tls", value=True)), "redis.external.tls"),
    ({"chroma": {"enabled": False}}, "chroma.external.url"),
    ({"chroma": {"external": {"url": "http://x"}}}, "chroma.external.url"),
    ({"objectStore": {"enabled": False}}, "objectStore.external.url"),
    ({"objectStore": {"external": {"url": "s3://x"}}}, "objectStore.external.url"),
    (merged(COLLECTOR, {"jaeger": {"enabled": True}}), "jaeger.enabled=true or tracing.endpoint"),
    (nested("tracing.existingSecret", "ours"), "tracing.existingSecret needs tracing.endpoint"),
    ({"promptTemplate": "{no_evidence} {fence}", "promptConfigMap": "ours"}, "promptTemplate or promptConfigMap"),
    ({"promptTemplate": "Be brief. {fence}"}, "promptTemplate must hold {no_evidence}"),
    ({"promptTemplate": "Be brief. {no_evidence}"}, "promptTemplate must hold {fence}"),
    ({"auth": {"apiKeys": ["a-key-of-sixteen-characters"]}}, "auth.enabled=true"),
    *(
        (nested(f"{value}.existingSecret", f"ragline-{part}"), f"{value}.existingSecret must not be ragline-{part}")
        for value, part in OWN_SECRETS.items()
    ),
    (
        {"objectStore": {"enabled": False, "existingSecret": "x", "external": {"url": "s3://x"}}},
        "objectStore.external.existingSecret",
    ),
    (nested("api.service.nodePort", 30800), "api.service.type"),
    ({"config": {"embedder": "openai"}}, "openai.existingSecret"),
    ({"config": {"embeddingModelDir": "/models/x"}}, "config.embeddingModel"),
    ({"config": {"chunkOverlap": 1000}}, "config.chunkOverlap"),
    ({"api": {"autoscaling": {"minReplicas": 7}}}, "api.autoscaling.minReplicas"),
    ({"worker": {"queues": {"document": {"minReplicas": 9}}}}, "worker.queues.document.minReplicas"),
    (nested("api.terminationGracePeriodSeconds", 74), "config.queryTimeoutSeconds"),
    (nested("config.queryTimeoutSeconds", 76), "api.terminationGracePeriodSeconds"),
    *(({"commonLabels": {label: "x"}}, f"commonLabels must not name {label}") for label in OWN_LABELS),
    ({"gatewayApi": {"enabled": True}}, "gatewayApi.parentRefs"),
    ({"ingress": {"enabled": True, "rateLimit": {"provider": "nginx-f5"}}}, "ingress.host"),
    ({"ingress": {"enabled": True, "rateLimit": {"provider": "envoy-gateway"}}}, "gatewayApi.enabled"),
    *((nested(f"worker.queues.{queue}", None), f"worker.queues.{queue}") for queue in Queue),
]


LACKING: list[tuple[dict[str, Any], str]] = [
    (nested("worker.defaults.scaler", "keda"), "install KEDA first"),
    (nested("worker.queues.rag.scaler", "keda"), "worker.queues.rag.scaler"),
    ({"ingress": {"enabled": True}}, "install Traefik"),
    ({"gatewayApi": {"enabled": True, "parentRefs": [{"name": "x"}]}}, "Gateway API"),
    (nested("monitoring.serviceMonitor.enabled", value=True), "monitoring.serviceMonitor.enabled"),
    (nested("monitoring.rules.enabled", value=True), "install the Prometheus Operator"),
]


@pytest.mark.parametrize(("values", "named"), IMPOSSIBLE)
def test_impossible_values_are_refused(values: dict[str, Any], named: str) -> None:
    with pytest.raises(RenderError) as refused:
        render(values, api_versions=ALL_APIS)
    assert named in _sentence(refused.value)


@pytest.mark.parametrize(("values", "named"), LACKING)
def test_what_the_cluster_lacks_is_said(values: dict[str, Any], named: str) -> None:
    with pytest.raises(RenderError) as refused:
        render(values, api_versions=())
    assert named in _sentence(refused.value)


@pytest.mark.parametrize(
    "values",
    [
        {"auth": {"enabled": True}},
        {"auth": {"enabled": True, "existingSecret": "ours"}},
        {"config": {"embedder": "openai"}, "openai": {"existingSecret": "ours"}},
        {"config": {"embeddingModelDir": "/models/x", "embeddingModel": "x"}},
        {"config": {"chunkOverlap": 999}},
        nested("redis.maxMemory", "1023mb"),
        nested("redis.maxMemory", "900000kb"),
        {"worker": {"defaults": {"terminationGracePeriodSeconds": 31}}},
        {"api": {"terminationGracePeriodSeconds": 75}},
        {"commonLabels": {"app.kubernetes.io/part-of": "x", "app.kubernetes.io/name-of-ours": "x"}},
    ],
)
def test_what_just_works_is_not_refused(values: dict[str, Any]) -> None:
    assert render(values)


def _sentence(error: RenderError) -> str:
    """What the template says, without Helm's words around it."""
    said = re.search(r"execution error at \(ragline/templates/.+?\): (.+)", str(error))
    assert said, error
    assert said[1].endswith("."), error
    return said[1]


WITHOUT_ENVOY = (
    {
        "gatewayApi": {"enabled": True, "parentRefs": [{"name": "x"}]},
        "ingress": {"rateLimit": {"provider": "envoy-gateway"}},
    },
    ("gateway.networking.k8s.io/v1",),
)


def test_every_check_is_tried() -> None:
    """A new check needs a case above."""
    texts = [path.read_text(encoding="utf-8") for path in CHART.glob("templates/**/*.*")]
    checks = {said for text in texts for said in re.findall(r"""fail \(?(?:printf )?"(.+?)\"""", text)}
    patterns = [re.compile(".+".join(map(re.escape, said.split("%s")))) for said in checks]
    said = []
    tried = [*((values, ALL_APIS) for values, _ in IMPOSSIBLE), *((values, ()) for values, _ in LACKING), WITHOUT_ENVOY]
    for values, apis in tried:
        with pytest.raises(RenderError) as refused:
            render(values, api_versions=apis)
        said.append(_sentence(refused.value))
    assert checks
    assert [one.pattern for one in patterns if not any(map(one.search, said))] == []


def test_default_values_are_accepted_with_and_without_keda() -> None:
    assert all(render(api_versions=choice) for choice in (KEDA, ()))
