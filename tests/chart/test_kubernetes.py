"""Kubernetes takes what the chart renders: every field is known, and Helm has nothing to say."""

import json
from collections.abc import Sequence

import kubernetes_validate
import pytest

from tests.chart.variants import ALL_APIS, FILES, VARIANTS, variant
from tests.support.chart import CHART, KUBE_VERSION, NAMESPACE, Object, by_kind, render, run_helm, strict_load

# The oldest version that Chart.yaml admits, and the newest one there are schemas of.
VERSIONS = ("1.30", kubernetes_validate.latest_version())

# Kinds that come with other programs, whose schemas are not Kubernetes's own.
OTHERS = {
    "keda.sh/v1alpha1": {"ScaledObject", "TriggerAuthentication"},
    "traefik.io/v1alpha1": {"Middleware"},
    "gateway.networking.k8s.io/v1": {"HTTPRoute"},
    "gateway.envoyproxy.io/v1alpha1": {"BackendTrafficPolicy"},
    "monitoring.coreos.com/v1": {"PrometheusRule", "ServiceMonitor"},
}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_field_is_known(version: str) -> None:
    every = [found for name in [*VARIANTS, *FILES] for found in variant(name)]
    # The variants share most objects; each is looked at once.
    for found in {json.dumps(found, sort_keys=True): found for found in every}.values():
        if found["apiVersion"] in OTHERS:
            assert found["kind"] in OTHERS[found["apiVersion"]]
            assert set(found) == {"apiVersion", "kind", "metadata", "spec"}
        else:
            kubernetes_validate.validate(found, version, strict=True)


def test_an_unknown_field_is_found() -> None:
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"port": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def test_the_variants_make_every_kind() -> None:
    kinds = {(found["apiVersion"], found["kind"]) for name in VARIANTS for found in variant(name)}
    others = {(version, kind) for version, names in OTHERS.items() for kind in names}
    assert others <= kinds
    assert {kind for _, kind in kinds} >= {
        "Deployment",
        "StatefulSet",
        "Ingress",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
    }


@pytest.mark.parametrize("name", ["values.yaml", *(path.name for path in FILES.values())])
def test_helm_finds_nothing_to_say(name: str) -> None:
    apis = [argument for api in ALL_APIS for argument in ("--api-versions", api)]
    arguments = ("--strict", "--quiet", "--namespace", NAMESPACE, "--values", str(CHART / name))
    version = ("--kube-version", KUBE_VERSION)
    said = (
        run_helm("template", str(CHART), *version, *apis)
        if _needs_apis(name)
        else run_helm("lint", str(CHART), *version, *arguments)
    )
    assert "WARNING" not in said


def _needs_apis(name: str) -> bool:
    """`helm lint` cannot be told what a cluster has."""
    return "scaler: keda" in (CHART / name).read_text(encoding="utf-8").replace("`keda`", "")


def test_helm_3_renders_the_same() -> None:
    """Its support ended in November 2026, but many have it still: the test runs where there is one."""
    three = render(VARIANTS["everything"], api_versions=ALL_APIS, name="helm3")
    four = variant("everything")
    assert _without_secrets(three) == _without_secrets(four)


def _without_secrets(objects: Sequence[Object]) -> list[Object]:
    found = sorted(objects, key=lambda item: (item["kind"], item["metadata"]["name"]))
    return [item for item in found if item not in by_kind(objects, "Secret")]


def test_a_key_that_comes_twice_is_found() -> None:
    with pytest.raises(Exception, match="a twice in one map"):
        strict_load("x:\n  a: 1\n  a: 2\n")
