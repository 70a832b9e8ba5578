"""Names are unique, short enough, and different for different releases."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from tests.chart.variants import ALL_APIS, EVERYTHING, every_variant
from tests.support.chart import COMPONENT, NAMESPACE, Object, by_kind, merged, pod_templates, render

LONGEST_RELEASE = "a-release-whose-name-is-as-long-as-helm-allows-at-all"

LONGEST_QUEUE: dict[str, Any] = {"worker": {"queues": {"a-long-queue-na": {}}}}


def _names(objects: Sequence[Object]) -> list[str]:
    return [f"{found['kind']}/{found['metadata']['name']}" for found in objects]


@every_variant
def test_names_are_unique_and_all_objects_are_in_the_namespace(objects: Sequence[Object]) -> None:
    assert [name for name, count in Counter(_names(objects)).items() if count > 1] == []
    assert {found["metadata"]["namespace"] for found in objects} == {NAMESPACE}


@pytest.mark.parametrize("length", [23, 30, 40, 53])
def test_long_release_names_fit(length: int) -> None:
    release = LONGEST_RELEASE[:length].strip("-")
    objects = render(merged(EVERYTHING, LONGEST_QUEUE), release=release, api_versions=ALL_APIS)
    assert len(LONGEST_RELEASE) == 53
    assert [name for name in _names(objects) if len(name.split("/")[1]) > 63] == []
    # KEDA names the HPA it makes after the ScaledObject.
    for scaled in by_kind(objects, "ScaledObject"):
        assert len("keda-hpa-" + scaled["metadata"]["name"]) <= 63
    labels = {
        value for template in pod_templates(objects).values() for value in template["metadata"]["labels"].values()
    }
    assert max(map(len, labels)) <= 63


def test_long_releases_with_the_same_beginning_stay_apart() -> None:
    one, other = (
        set(_names(render(EVERYTHING, release=LONGEST_RELEASE[:-1] + end, api_versions=ALL_APIS))) for end in "xy"
    )
    assert one.isdisjoint(other)


@pytest.mark.parametrize(
    ("given", "release", "expected"),
    [
        ({}, "ragline", "ragline-api"),
        ({}, "my-ragline", "my-ragline-api"),
        ({}, "blue", "blue-ragline-api"),
        ({"nameOverride": "rag"}, "blue", "blue-rag-api"),
        ({"fullnameOverride": "answers"}, "blue", "answers-api"),
    ],
)
def test_names_say_what_is_installed(given: dict[str, str], release: str, expected: str) -> None:
    assert f"Deployment/{expected}" in _names(render(given, release=release))


@every_variant
def test_objects_carry_the_recommended_labels(objects: Sequence[Object]) -> None:
    keys = {f"app.kubernetes.io/{key}" for key in ("name", "instance", "version", "part-of", "managed-by")}
    for found in objects:
        assert keys | {COMPONENT, "helm.sh/chart"} <= found["metadata"]["labels"].keys(), found["metadata"]["name"]


def test_common_labels_are_everywhere() -> None:
    objects = render(merged(EVERYTHING, {"commonLabels": {"team": "documents"}}), api_versions=ALL_APIS)
    assert [found for found in objects if found["metadata"]["labels"].get("team") != "documents"] == []


def test_common_labels_come_once_and_may_say_what_it_is_a_part_of() -> None:
    part_of = "app.kubernetes.io/part-of"
    objects = render({"commonLabels": {part_of: "intranet"}})
    labels = [found["metadata"]["labels"] for found in objects]
    labels += [template["metadata"]["labels"] for template in pod_templates(objects).values()]
    assert {found[part_of] for found in labels} == {"intranet"}
    assert {found["app.kubernetes.io/name"] for found in labels} == {"ragline"}


def test_a_release_may_be_called_by_a_number() -> None:
    labels = [found["metadata"]["labels"] for found in render(release="2026")]
    assert {found["app.kubernetes.io/instance"] for found in labels} == {"2026"}


def test_objects_of_ones_own_are_templates() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-text'}\n"
    whole = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-map"}}
    names = _names(render({"extraObjects": [text, whole]}))
    assert {"ConfigMap/ragline-text", "ConfigMap/ragline-map"} <= set(names)
