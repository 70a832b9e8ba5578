"""Every pod meets the Pod Security Standard `restricted`, and what the house asks beyond it."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ragline.common.queues import Queue
from ragline.worker.pools import POOLS
from tests.chart.variants import FILES, every_variant, variant
from tests.support.chart import Object, containers, find, merged, nested, pod_specs, pod_templates, render

ALLOWED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}

RUNTIMES = ("RuntimeDefault", "Localhost")


def violations(spec: dict[str, Any]) -> list[str]:
    """Where a pod breaks the standard (https://kubernetes.io/docs/concepts/security/pod-security-standards)."""
    pod = spec.get("securityContext", {})
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    found += [f"volume {volume['name']}" for volume in spec.get("volumes", []) if not _allowed(volume)]
    found += ["sysctls"] if pod.get("sysctls") else []
    found += ["supplementalGroups"] if 0 in pod.get("supplementalGroups", []) else []
    for container in [*spec.get("initContainers", []), *spec["containers"], *spec.get("ephemeralContainers", [])]:
        found += [f"{container['name']}: {problem}" for problem in _violations(container, pod)]
    return found


def _allowed(volume: dict[str, Any]) -> bool:
    return set(volume) - {"name"} <= ALLOWED_VOLUMES


def _violations(container: dict[str, Any], pod: dict[str, Any]) -> list[str]:
    own = container.get("securityContext", {})
    both = {**pod, **own}
    capabilities = own.get("capabilities", {})
    checks = {
        "privileged": not own.get("privileged"),
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
        "runAsNonRoot": both.get("runAsNonRoot") is True,
        "runAsUser": both.get("runAsUser") != 0,
        "seccompProfile": both.get("seccompProfile", {}).get("type") in RUNTIMES,
        "capabilities.drop": "ALL" in capabilities.get("drop", []),
        "capabilities.add": set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
        "procMount": own.get("procMount", "Default") == "Default",
        "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
        "windowsOptions": not both.get("windowsOptions", {}).get("hostProcess"),
        "seLinuxOptions": not {"user", "role"} & set(both.get("seLinuxOptions", {})),
        "appArmorProfile": both.get("appArmorProfile", {"type": "RuntimeDefault"})["type"] in RUNTIMES,
    }
    return [name for name, holds in checks.items() if not holds]


@every_variant
def test_pods_are_restricted(objects: Sequence[Object]) -> None:
    assert {name: violations(spec) for name, spec in pod_specs(objects).items() if violations(spec)} == {}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"podSecurityContext": {"runAsNonRoot": False}}, "runAsNonRoot"),
        ({"podSecurityContext": {"seccompProfile": {"type": "Unconfined"}}}, "seccompProfile"),
        ({"containerSecurityContext": {"allowPrivilegeEscalation": True}}, "allowPrivilegeEscalation"),
        ({"containerSecurityContext": {"capabilities": {"drop": []}}}, "capabilities.drop"),
        ({"api": {"extraVolumes": [{"name": "node", "hostPath": {"path": "/"}}]}}, "volume node"),
    ],
)
def test_what_breaks_the_standard_is_found(change: dict[str, Any], problem: str) -> None:
    found = violations(pod_specs(render(change))["Deployment/ragline-api"])
    assert [entry for entry in found if entry.endswith(problem)]


@every_variant
def test_root_file_systems_are_read_only_and_tmp_is_the_pods_own(objects: Sequence[Object]) -> None:
    for name, container in containers(objects):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
    for name, spec in pod_specs(objects).items():
        used = {mount["name"] for entry in spec["containers"] for mount in entry.get("volumeMounts", [])}
        assert used <= {volume["name"] for volume in spec.get("volumes", [])}, name
        for volume in spec.get("volumes", []):
            if volume["name"] == "tmp":
                assert volume["emptyDir"]["sizeLimit"], name


@every_variant
def test_pods_get_no_token_and_no_service_variables(objects: Sequence[Object]) -> None:
    for name, spec in pod_specs(objects).items():
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name


@every_variant
def test_resources_are_asked_for_and_memory_is_bounded(objects: Sequence[Object]) -> None:
    for name, container in containers(objects):
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
        assert "memory" in container["resources"]["limits"], name


@every_variant
def test_long_running_containers_are_probed(objects: Sequence[Object]) -> None:
    for name, spec in pod_specs(objects).items():
        if name.startswith("Pod/"):
            continue
        for container in spec["containers"]:
            assert {"livenessProbe", "readinessProbe"} <= container.keys(), name


@every_variant
def test_no_environment_name_comes_twice(objects: Sequence[Object]) -> None:
    for name, container in containers(objects):
        names = [entry["name"] for entry in container.get("env", [])]
        assert len(names) == len(set(names)), name


def test_settings_for_all_pods_reach_all_pods() -> None:
    given = {
        "imagePullSecrets": [{"name": "registry"}],
        "commonLabels": {"team": "documents"},
        "jaeger": {"enabled": True},
    }
    for name, template in pod_templates(render(given)).items():
        assert template["spec"]["imagePullSecrets"] == [{"name": "registry"}], name
        assert template["metadata"]["labels"]["team"] == "documents", name


@pytest.mark.parametrize("name", ["default", *FILES])
def test_a_document_worker_has_room_for_all_its_parsers(name: str) -> None:
    objects = variant(name)
    settings = find(objects, "ConfigMap", "ragline-config")["data"]
    (container,) = pod_specs(objects)["Deployment/ragline-worker-document"]["containers"]
    (given,) = [entry["value"] for entry in container["env"] if entry["name"] == "WORKER_CONCURRENCY"]
    parsers = int(given) or POOLS[Queue.DOCUMENT].concurrency
    memory = {name: _bytes(entry["memory"]) for name, entry in container["resources"].items()}
    assert memory["limits"] >= parsers * int(settings["PARSER_MEMORY_BYTES"]) + memory["requests"]


def _bytes(quantity: str) -> int:
    return int(quantity[:-2]) * {"Mi": 2**20, "Gi": 2**30}[quantity[-2:]]


PLACES = {
    "api": ["Deployment/ragline-api"],
    "worker.defaults": [
        f"Deployment/ragline-worker-{queue}" for queue in ("default", "document", "rag", "vectorstore")
    ],
    "worker.queues.rag": ["Deployment/ragline-worker-rag"],
    "redis": ["StatefulSet/ragline-redis"],
    "chroma": ["StatefulSet/ragline-chroma"],
    "objectStore": ["StatefulSet/ragline-object-store"],
    "flower": ["Deployment/ragline-flower"],
    "jaeger": ["Deployment/ragline-jaeger"],
}

OWN = {
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "documents", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
}

WITH_JAEGER = {"jaeger": {"enabled": True}}


def _reached(objects: Sequence[Object], has: Callable[[Object], bool]) -> list[str]:
    return [name for name, template in pod_templates(objects).items() if has(template)]


@pytest.mark.parametrize("place", PLACES)
def test_settings_for_one_part_reach_that_part_alone(place: str) -> None:
    given = merged(WITH_JAEGER, nested(place, {**OWN, "podAnnotations": {"note": "ours"}}))
    objects = render(given)
    assert _reached(objects, lambda pod: pod["metadata"].get("annotations", {}).get("note") == "ours") == PLACES[place]
    for key, value in OWN.items():
        reached = [name for name, spec in pod_specs(objects).items() if spec.get(key) == value]
        assert reached == PLACES[place], key


@pytest.mark.parametrize("place", [place for place in PLACES if place != "worker.defaults"])
def test_resources_of_one_part_reach_that_part_alone(place: str) -> None:
    objects = render(merged(WITH_JAEGER, nested(f"{place}.resources.requests.cpu", "77m")))
    assert (
        _reached(objects, lambda pod: pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "77m")
        == PLACES[place]
    )


DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize("part", ["api", "worker", "redis", "chroma", "objectStore", "flower", "jaeger"])
def test_image_by_tag_and_by_digest(part: str) -> None:
    def images(image: dict[str, str]) -> set[str]:
        return {entry["image"] for _, entry in containers(render(merged(WITH_JAEGER, {part: {"image": image}})))}

    assert "ours/x:1" in images({"repository": "ours/x", "tag": "1"})
    assert f"ours/x@{DIGEST}" in images({"repository": "ours/x", "tag": "1", "digest": DIGEST})


def test_images_of_the_application_are_those_of_this_release() -> None:
    images = {entry["image"] for _, entry in containers(render())}
    assert {"ragline/api:0.1.0", "ragline/worker:0.1.0"} <= images
    assert not [image for image in images if image.endswith((":latest", ":"))]
