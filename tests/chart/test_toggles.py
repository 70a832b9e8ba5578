"""One case per switch: what comes and goes with it."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.chart.variants import ALL_APIS, COLLECTOR, EVERYTHING, OUTSIDE
from tests.support.chart import COMPONENT, Object, by_kind, find, merged, nested, pod_specs, pod_templates, render

OFF = {"enabled": False}
ON = {"enabled": True}


def _set(objects: Sequence[Object]) -> set[str]:
    return {f"{found['kind']}/{found['metadata']['name'].removeprefix('ragline-')}" for found in objects}


def _difference(values: dict[str, Any], base: dict[str, Any] | None = None) -> tuple[set[str], set[str]]:
    """What a change of values brings, and what it takes away."""
    before = _set(render(base, api_versions=ALL_APIS))
    after = _set(render(merged(base or {}, values), api_versions=ALL_APIS))
    return after - before, before - after


def _part(name: str, kind: str, *more: str) -> set[str]:
    return {f"{each}/{name}" for each in (kind, "Service", "ConfigMap", *more)}


APPEARS: list[tuple[dict[str, Any], set[str]]] = [
    ({"jaeger": ON}, _part("jaeger", "Deployment")),
    ({"jaeger": {"enabled": True, "persistence": ON}}, _part("jaeger", "Deployment", "PersistentVolumeClaim")),
    ({"flower": {"persistence": ON}}, {"PersistentVolumeClaim/flower"}),
    (COLLECTOR, {"NetworkPolicy/traces-outside"}),
    ({"auth": {"enabled": True, "apiKeys": ["0123456789abcdef"]}}, {"Secret/auth"}),
    ({"openai": {"apiKey": "key"}}, {"Secret/openai", "NetworkPolicy/models-outside"}),
    (
        {"ingress": ON},
        {
            "Ingress/general",
            "Ingress/rag",
            "Middleware/general-limit",
            "Middleware/rag-limit",
            "Middleware/security-headers",
        },
    ),
    ({"gatewayApi": {"enabled": True, "parentRefs": [{"name": "x"}]}}, {"HTTPRoute/general", "HTTPRoute/rag"}),
]

DISAPPEARS: list[tuple[dict[str, Any], set[str]]] = [
    (
        {"flower": OFF},
        _part("flower", "Deployment", "Secret", "NetworkPolicy") - {"NetworkPolicy/flower"}
        | {"NetworkPolicy/flower-to-redis"},
    ),
    ({"serviceAccount": {"create": False}}, {"ServiceAccount/ragline"}),
    ({"api": {"autoscaling": OFF}}, {"HorizontalPodAutoscaler/api"}),
    ({"redis": {"existingSecret": "ours"}}, {"Secret/redis"}),
    ({"objectStore": {"existingSecret": "ours"}}, {"Secret/object-store"}),
    ({"flower": {"existingSecret": "ours"}}, {"Secret/flower"}),
    ({"redis": {"persistence": {"existingClaim": "ours"}}}, {"PersistentVolumeClaim/redis"}),
    ({"chroma": {"persistence": {"existingClaim": "ours"}}}, {"PersistentVolumeClaim/chroma"}),
    ({"objectStore": {"persistence": {"existingClaim": "ours"}}}, {"PersistentVolumeClaim/object-store"}),
    ({"networkPolicy": {"apiFrom": []}}, {"NetworkPolicy/clients-to-api"}),
    ({"networkPolicy": {"dns": {"to": []}}}, {"NetworkPolicy/dns"}),
    ({"networkPolicy": {"dns": {"ports": []}}}, {"NetworkPolicy/dns"}),
]


@pytest.mark.parametrize(("values", "expected"), APPEARS)
def test_switched_on_it_appears(values: dict[str, Any], expected: set[str]) -> None:
    came, went = _difference(values)
    assert went == set()
    # A part may bring rules for its connections.
    assert {name for name in came if not name.startswith("NetworkPolicy/")} | (expected & came) == expected


@pytest.mark.parametrize(("values", "expected"), DISAPPEARS)
def test_switched_off_it_goes(values: dict[str, Any], expected: set[str]) -> None:
    assert _difference(values) == (set(), expected)


@pytest.mark.parametrize(
    ("part", "external"),
    [("redis", "redis.external.host"), ("chroma", "chroma.external.url"), ("objectStore", "objectStore.external.url")],
)
def test_a_store_outside_leaves_nothing_of_ours(part: str, external: str) -> None:
    address = {"redis": "redis.example.org", "chroma": "http://chroma.example.org", "objectStore": "s3://ours"}[part]
    came, went = _difference(merged({part: OFF}, nested(external, address)))
    component = {"objectStore": "object-store"}.get(part, part)
    assert came == {f"NetworkPolicy/{component}-outside"}
    assert {f"{kind}/{component}" for kind in ("StatefulSet", "Service", "PersistentVolumeClaim")} <= went


def test_without_network_policies_there_is_none() -> None:
    came, went = _difference({"networkPolicy": OFF})
    assert came == set()
    assert went
    assert {name.partition("/")[0] for name in went} == {"NetworkPolicy"}


@pytest.mark.parametrize("key", ["auth", "openai"])
def test_secrets_of_ones_own_for_keys(key: str) -> None:
    given = {key: {"existingSecret": "ours", **(ON if key == "auth" else {})}}
    objects = render(given)
    assert f"Secret/{key}" not in _set(objects)
    assert _named(objects) >= {"ours"}


@pytest.mark.parametrize("values", [{}, EVERYTHING, {"api": {"autoscaling": OFF}}])
def test_every_secret_is_made_and_used(values: dict[str, Any]) -> None:
    objects = render(values, api_versions=ALL_APIS)
    assert _named(objects) == {secret["metadata"]["name"] for secret in by_kind(objects, "Secret")}


def _named(value: object) -> set[str]:
    """All names of Secrets that objects refer to."""
    found: set[str] = set()
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("secretKeyRef", "secretRef", "secret") and isinstance(inner, dict):
                found.add(inner.get("name") or inner["secretName"])
            elif key == "secretTargetRef":
                found |= {entry["name"] for entry in inner}
            found |= _named(inner)
    elif isinstance(value, list | tuple):
        found = set().union(*map(_named, value))
    return found


@pytest.mark.parametrize("values", [EVERYTHING, OUTSIDE, {}])
def test_nothing_but_the_test_is_a_hook(values: dict[str, Any]) -> None:
    hooks = {
        (found["metadata"]["labels"][COMPONENT], found["metadata"]["annotations"]["helm.sh/hook"])
        for found in render(values, api_versions=ALL_APIS)
        if "helm.sh/hook" in found["metadata"].get("annotations", {})
    }
    assert hooks == {("test", "test")}


def test_volumes_outlive_the_release() -> None:
    claims = by_kind(render(EVERYTHING, api_versions=ALL_APIS), "PersistentVolumeClaim")
    assert {claim["metadata"]["name"] for claim in claims} == {
        f"ragline-{part}" for part in ("redis", "chroma", "object-store", "flower", "jaeger")
    }
    assert {claim["metadata"]["annotations"]["helm.sh/resource-policy"] for claim in claims} == {"keep"}


@pytest.mark.parametrize("part", ["redis", "chroma", "objectStore", "flower", "jaeger"])
def test_a_claim_of_ones_own_is_mounted(part: str) -> None:
    before = merged(EVERYTHING, nested(f"{part}.persistence.existingClaim", ""))
    after = merged(EVERYTHING, nested(f"{part}.persistence.existingClaim", "ours"))
    component = {"objectStore": "object-store"}.get(part, part)
    came, went = _difference(after, before)
    assert (came, went) == (set(), {f"PersistentVolumeClaim/{component}"})
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for spec in pod_specs(render(after, api_versions=ALL_APIS)).values()
        for volume in spec["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claims == {"ours", *(f"ragline-{name}" for name in STORES if name != component)}


STORES = ("redis", "chroma", "object-store", "flower", "jaeger")


@pytest.mark.parametrize("values", [OUTSIDE, merged(OUTSIDE, {"openai": {"apiKey": "key"}})])
def test_nowhere_outside_is_no_policy(values: dict[str, Any]) -> None:
    came, went = _difference({"networkPolicy": {"outside": []}}, values)
    parts = {"redis", "chroma", "object-store"} | ({"models"} if "openai" in values else set())
    assert (came, went) == (set(), {f"NetworkPolicy/{part}-outside" for part in parts})


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
def test_a_service_that_is_open_to_the_outside_has_no_list_of_clients(kind: str) -> None:
    objects = render({"api": {"service": {"type": kind}}, "networkPolicy": {"apiFrom": []}})
    policy = find(objects, "NetworkPolicy", "ragline-clients-to-api")
    assert policy["spec"]["ingress"] == [{"ports": [{"port": 8000}]}]


def test_no_collector_anywhere_is_no_policy() -> None:
    assert _difference(nested("networkPolicy.collector", []), COLLECTOR) == (set(), {"NetworkPolicy/traces-outside"})


def test_a_drain_does_not_wait_for_unready_pods() -> None:
    budgets = by_kind(render(), "PodDisruptionBudget")
    assert len(budgets) == 5
    assert {budget["spec"]["unhealthyPodEvictionPolicy"] for budget in budgets} == {"AlwaysAllow"}


def test_no_claim_is_a_template_that_cannot_grow() -> None:
    assert not [found for found in by_kind(render(), "StatefulSet") if "volumeClaimTemplates" in found["spec"]]


def _checksums(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {
            key: value for key, value in pod["metadata"].get("annotations", {}).items() if key.startswith("checksum/")
        }
        for name, pod in pod_templates(render(values)).items()
    }


APPLICATION = {"Deployment/ragline-api"} | {
    f"Deployment/ragline-worker-{queue}" for queue in ("default", "document", "rag", "vectorstore")
}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"config": {"logLevel": "DEBUG"}}, APPLICATION),
        ({"openai": {"apiKey": "key"}}, APPLICATION),
        ({"redis": {"maxMemory": "700mb"}}, {"StatefulSet/ragline-redis"}),
        ({"redis": {"password": "other"}}, {*APPLICATION, "StatefulSet/ragline-redis", "Deployment/ragline-flower"}),
        ({"flower": {"password": "other"}}, {"Deployment/ragline-flower"}),
        (COLLECTOR, APPLICATION),
        ({"api": {"replicas": 3}}, set()),
    ],
)
def test_pods_are_replaced_when_what_they_read_changes(values: dict[str, Any], expected: set[str]) -> None:
    before, after = _checksums({}), _checksums(values)
    assert {name for name in before if before[name] != after[name]} == expected


def test_a_node_port_and_annotations_of_the_service() -> None:
    service = {"type": "NodePort", "port": 8080, "nodePort": 30080, "annotations": {"a": "b"}}
    found = find(render({"api": {"service": service}}), "Service", "ragline-api")
    assert found["spec"]["type"] == "NodePort"
    assert found["spec"]["ports"] == [{"name": "http", "port": 8080, "targetPort": "http", "nodePort": 30080}]
    assert found["metadata"]["annotations"] == {"a": "b"}
