"""Selectors take the pods they are meant for, and policies let through what the parts need, and nothing else."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import pytest

from tests.chart.variants import EVERYTHING, OUTSIDE, every_variant
from tests.support.chart import COMPONENT, Object, by_kind, find, merged, pod_templates, render

# These two speak of all pods of the release.
OF_ALL_PODS = {"ragline-default-deny", "ragline-dns"}

PORTS = {"api": [8000], "redis": [6379], "chroma": [8000], "object-store": [7070], "flower": [5555]} | {
    "jaeger": [16686, 4317, 4318]
}

Selector = Mapping[str, Any]
Labels = Mapping[str, str]


def _matches(selector: Selector, labels: Labels) -> bool:
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    expressions = selector.get("matchExpressions", [])
    assert {expression["operator"] for expression in expressions} <= {"In"}
    exact = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return exact and all(labels.get(found["key"]) in found["values"] for found in expressions)


def _components(selector: Selector) -> set[str]:
    named = {selector.get("matchLabels", {}).get(COMPONENT)} - {None}
    for expression in selector.get("matchExpressions", []):
        named |= set(expression["values"]) if expression["key"] == COMPONENT else set()
    return named


def _pods(objects: Sequence[Object]) -> dict[str, Labels]:
    """Labels of pods by component."""
    found = [template["metadata"]["labels"] for template in pod_templates(objects).values()]
    assert len({labels[COMPONENT] for labels in found}) == len(found)
    return {labels[COMPONENT]: labels for labels in found}


@every_variant
def test_controllers_services_and_budgets_select_their_component(objects: Sequence[Object]) -> None:
    pods = _pods(objects)
    for found in by_kind(objects, "Deployment", "StatefulSet", "Service", "PodDisruptionBudget"):
        selector = found["spec"]["selector"]
        selector = {"matchLabels": selector} if found["kind"] == "Service" else selector
        own = found["metadata"]["labels"][COMPONENT]
        assert [name for name, labels in pods.items() if _matches(selector, labels)] == [own]
        assert selector["matchLabels"].keys() == {
            "app.kubernetes.io/name",
            "app.kubernetes.io/instance",
            COMPONENT,
        }


@every_variant
def test_policies_name_components_that_exist(objects: Sequence[Object]) -> None:
    pods = _pods(objects)
    for policy in by_kind(objects, "NetworkPolicy"):
        name = policy["metadata"]["name"]
        selectors = [policy["spec"]["podSelector"]]
        for rule in [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]:
            peers = [*rule.get("from", []), *rule.get("to", [])]
            selectors += [peer["podSelector"] for peer in peers if "podSelector" in peer]
        if name in OF_ALL_PODS:
            assert all(_matches(selectors[0], labels) for labels in pods.values())
            continue
        assert all(_components(selector) for selector in selectors), name
        assert set().union(*map(_components, selectors)) <= pods.keys(), name


@every_variant
def test_ports_that_services_name_exist(objects: Sequence[Object]) -> None:
    pods = {template["metadata"]["labels"][COMPONENT]: template for template in pod_templates(objects).values()}
    for service in by_kind(objects, "Service"):
        containers = pods[service["spec"]["selector"][COMPONENT]]["spec"]["containers"]
        named = {port["name"]: port["containerPort"] for entry in containers for port in entry.get("ports", [])}
        for port in service["spec"]["ports"]:
            assert named[port["targetPort"]] in PORTS[service["spec"]["selector"][COMPONENT]]


def _speaks_of(rule: Mapping[str, Any], peers: str, labels: Labels, port: int) -> bool:
    found = rule.get(peers)
    # No peers are all peers, and no ports all ports.
    peer_fits = not found or any(
        _matches(peer["podSelector"], labels) for peer in found if set(peer) == {"podSelector"}
    )
    return peer_fits and (not rule.get("ports") or port in {entry["port"] for entry in rule["ports"]})


def _open(policies: Iterable[Object], source: Labels, target: Labels, port: int) -> bool:
    """Whether the policies let the one pod connect to the other: out of the one and into the other."""
    ways = (("Egress", "to", source, target), ("Ingress", "from", target, source))
    for direction, peers, subject, other in ways:
        ours = [
            policy["spec"]
            for policy in policies
            if direction in policy["spec"]["policyTypes"] and _matches(policy["spec"]["podSelector"], subject)
        ]
        rules = [rule for spec in ours for rule in spec.get(direction.lower(), [])]
        if ours and not any(_speaks_of(rule, peers, other, port) for rule in rules):
            return False
    return True


def _connections(objects: Sequence[Object]) -> set[str]:
    pods = _pods(objects)
    policies = by_kind(objects, "NetworkPolicy")
    return {
        f"{source} -> {target}:{port}"
        for source, target in product(pods, pods)
        for port in PORTS.get(target, [9999])
        if source != target and _open(policies, pods[source], pods[target], port)
    }


WORKERS = ("default", "document", "rag", "vectorstore")

STORES = (
    {"test -> api:8000", "api -> redis:6379", "api -> chroma:8000", "api -> object-store:7070"}
    | {f"worker-{queue} -> redis:6379" for queue in WORKERS}
    | {f"worker-{queue} -> object-store:7070" for queue in WORKERS}
    | {f"worker-{queue} -> chroma:8000" for queue in WORKERS if queue != "document"}
)

TRACES = {f"{source} -> jaeger:4318" for source in ("api", *(f"worker-{queue}" for queue in WORKERS))}

KEYS = {"auth": {"enabled": True}}

FIFTH = {"worker": {"queues": {"reports": {"maxReplicas": 2}}}}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, STORES | {"flower -> redis:6379"}),
        ({"flower": {"enabled": False}}, STORES),
        (OUTSIDE, {"test -> api:8000"}),
        (KEYS, STORES | {"flower -> redis:6379", "test -> redis:6379"}),
        ({"auth": {"enabled": True, "existingSecret": "ours"}}, STORES | {"flower -> redis:6379"}),
        ({"jaeger": {"enabled": True}}, STORES | {"flower -> redis:6379"} | TRACES),
        (
            FIFTH,
            STORES
            | {"flower -> redis:6379"}
            | {f"worker-reports -> {to}" for to in ("redis:6379", "object-store:7070", "chroma:8000")},
        ),
    ],
    ids=["default", "without-flower", "outside", "keys-in-redis", "plain-keys", "jaeger", "fifth-queue"],
)
def test_parts_reach_what_they_need_and_nothing_else(values: dict[str, Any], expected: set[str]) -> None:
    assert _connections(render(values)) == expected


def test_without_policies_everything_is_open() -> None:
    """So that the test above can fail."""
    assert "worker-document -> chroma:8000" in _connections(render({"networkPolicy": {"enabled": False}}))


def _outward(objects: Sequence[Object], component: str) -> list[Object]:
    labels = _pods(objects)[component]
    policies = [policy["spec"] for policy in by_kind(objects, "NetworkPolicy")]
    rules = [rule for spec in policies if _matches(spec["podSelector"], labels) for rule in spec.get("egress", [])]
    return [rule for rule in rules if rule != DNS and _leads_outside(rule)]


def _leads_outside(rule: Object) -> bool:
    """Anywhere but to pods of this namespace; a rule that names nobody leads everywhere."""
    return not rule.get("to") or any(set(peer) != {"podSelector"} for peer in rule["to"])


@pytest.mark.parametrize("rule", [{}, {"to": []}, {"to": None}, {"ports": [{"port": 53}]}, {"to": [{"ipBlock": {}}]}])
def test_ways_to_the_outside_are_found(rule: Object) -> None:
    assert _leads_outside(rule)


DNS = {
    "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
    "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
}


def test_names_are_asked_of_the_clusters_dns() -> None:
    assert find(render(), "NetworkPolicy", "ragline-dns")["spec"]["egress"] == [DNS]
    node = [{"ipBlock": {"cidr": "169.254.20.10/32"}}]
    own = render({"networkPolicy": {"dns": {"to": node, "ports": [53, 5353]}}})
    (rule,) = find(own, "NetworkPolicy", "ragline-dns")["spec"]["egress"]
    assert rule["to"] == node
    assert [(entry["port"], entry["protocol"]) for entry in rule["ports"]] == [
        (port, protocol) for port in (53, 5353) for protocol in ("UDP", "TCP")
    ]


def test_only_those_who_need_the_outside_reach_it() -> None:
    own = render()
    assert [name for name in _pods(own) if _outward(own, name)] == []
    models = render({"openai": {"apiKey": "key"}})
    assert {name for name in _pods(models) if _outward(models, name)} == {"worker-rag", "worker-vectorstore"}
    outside = render(OUTSIDE)
    # Flower talks to Redis only, on Redis's port.
    assert [rule["ports"] for rule in _outward(outside, "flower")] == [[{"port": 6390}]]
    assert len(_outward(outside, "api")) == 3
    # The test makes a key where it is given none.
    assert _outward(outside, "test") == []
    assert [rule["ports"] for rule in _outward(render(merged(OUTSIDE, KEYS)), "test")] == [[{"port": 6390}]]


def test_only_those_who_are_named_reach_the_parts_from_outside() -> None:
    own, opened = (
        render(),
        render(merged(EVERYTHING, {"ingress": {"enabled": False}, "gatewayApi": {"enabled": False}})),
    )

    def entrances(objects: Sequence[Object]) -> set[str]:
        found = set()
        for policy in by_kind(objects, "NetworkPolicy"):
            for rule in policy["spec"].get("ingress", []):
                if any("namespaceSelector" in peer for peer in rule.get("from", [])):
                    found |= _components(policy["spec"]["podSelector"])
        return found

    assert entrances(own) == {"api", "redis"}
    assert entrances(opened) == {"api", "redis", "flower", "jaeger"}
    assert entrances(render(api_versions=())) == {"api"}
