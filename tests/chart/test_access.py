"""Keys, limits and the addresses they count."""

import re
from typing import Any

import pytest

from ragline.api.access import policy_of
from tests.chart.variants import ALL_APIS, OUTSIDE
from tests.support.chart import CHART, NAMESPACE, by_kind, find, merged, nested, pod_specs, render, run_helm

KEYS = {"auth": {"enabled": True}}

PLAIN = [merged(KEYS, {"auth": given}) for given in ({"apiKeys": ["0123456789abcdef"]}, {"existingSecret": "ours"})]

INGRESS = {"ingress": {"enabled": True, "host": "example.org"}}


def _secrets_of(pod: str, values: dict[str, Any]) -> set[str]:
    """Files with secrets that a pod sees."""
    (volume,) = [found for found in pod_specs(render(values))[pod]["volumes"] if found["name"] == "secrets"]
    sources = volume.get("projected", {}).get("sources", []) + [volume] * ("secret" in volume)
    return {item["path"] for source in sources for item in source["secret"]["items"]}


def test_keys_may_all_be_in_redis() -> None:
    objects = render(KEYS)
    assert "ragline-auth" not in [secret["metadata"]["name"] for secret in by_kind(objects, "Secret")]
    assert _secrets_of("Deployment/ragline-api", KEYS) == {"redis_password"}
    (container,) = pod_specs(objects)["Deployment/ragline-api"]["containers"]
    assert {"name": "ENABLE_AUTH", "value": "true"} in container["env"]


@pytest.mark.parametrize("values", PLAIN)
def test_plain_keys_work_beside_them(values: dict[str, Any]) -> None:
    assert _secrets_of("Deployment/ragline-api", values) == {"api_keys", "redis_password"}
    assert _secrets_of("Pod/ragline-test", values) == {"api_keys"}


@pytest.mark.parametrize("stores", [{}, OUTSIDE])
def test_without_plain_keys_the_test_makes_one(stores: dict[str, Any]) -> None:
    values = merged(stores, KEYS)
    (container,) = pod_specs(render(values))["Pod/ragline-test"]["containers"]
    assert {"name": "MAKE_KEY", "value": "true"} in container["env"]
    assert container["envFrom"] == [{"configMapRef": {"name": "ragline-config"}}]
    assert _secrets_of("Pod/ragline-test", values) == {"redis_password"}


@pytest.mark.parametrize("values", [{}, *PLAIN])
def test_otherwise_the_test_knows_nothing_of_redis(values: dict[str, Any]) -> None:
    (container,) = pod_specs(render(values))["Pod/ragline-test"]["containers"]
    assert [entry["name"] for entry in container["env"]] == ["API_URL"]
    assert "envFrom" not in container


ASKED = [
    ("POST", "/v1/collections/papers/queries"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/rag/query"),
    ("POST", "/rag/query/sync"),
    ("POST", "/rag/pipeline"),
    ("POST", "/v1/collections/papers/documents"),
    ("POST", "/v1/collections/papers/queries/more"),
    ("POST", "/v1/collections/a/b/queries"),
]


@pytest.mark.parametrize(("method", "path"), ASKED)
def test_the_ingress_and_the_service_agree_on_what_a_question_is(method: str, path: str) -> None:
    (rule,) = find(render(INGRESS, api_versions=ALL_APIS), "Ingress", "ragline-rag")["spec"]["rules"]
    (pattern,) = [found["path"] for found in rule["http"]["paths"]]
    assert bool(re.search(pattern, path)) == (policy_of(method, path) == "rag")


def test_haproxy_knows_every_question_without_a_name_in_its_path() -> None:
    values = merged(INGRESS, nested("ingress.rateLimit.provider", "haproxy"))
    (rule,) = find(render(values, api_versions=ALL_APIS), "Ingress", "ragline-rag")["spec"]["rules"]
    paths = {found["path"] for found in rule["http"]["paths"]}
    assert paths == {path for method, path in ASKED if policy_of(method, path) == "rag" and "papers" not in path}


SHARED = "callers without a key share one address"


def _notes(*settings: str) -> str:
    options = [word for setting in settings for word in ("--set", setting)]
    said = run_helm("install", "ragline", str(CHART), "--namespace", NAMESPACE, "--dry-run=client", *options)
    return said.partition("NOTES:")[2]


def test_the_notes_warn_of_a_shared_address() -> None:
    ingress = ("ingress.enabled=true", "ingress.rateLimit.provider=none")
    assert SHARED not in _notes()
    assert SHARED in _notes(*ingress)
    assert SHARED not in _notes(*ingress, "config.trustedProxies=10.244.0.0/16")


def test_the_notes_tell_how_to_make_a_key() -> None:
    assert "ragline keys create" not in _notes()
    assert "exec -n documents deploy/ragline-api -- ragline keys create" in _notes("auth.enabled=true")
