"""The chart as Helm renders it, and what tests look for in it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from typing_extensions import override

__all__ = [
    "CHART",
    "COMPONENT",
    "KEDA",
    "KUBE_VERSION",
    "NAMESPACE",
    "Object",
    "RenderError",
    "by_kind",
    "containers",
    "find",
    "helm",
    "merged",
    "nested",
    "pod_specs",
    "pod_templates",
    "render",
    "render_text",
    "run_helm",
    "strict_load",
]

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "ragline"
COMPONENT = "app.kubernetes.io/component"
KEDA = ("keda.sh/v1alpha1",)
NAMESPACE = "documents"

KUBE_VERSION = "1.34.0"
"""What a Helm without a cluster takes for its version, so that results do not depend on how Helm was built."""

_TIMEOUT_SECONDS = 30

Object = dict[str, Any]


class RenderError(Exception):
    """Helm refused the values; the text is its message."""


class _StrictLoader(yaml.CSafeLoader):
    """Refuses a key that comes twice, as the API server does with server-side apply."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.YAMLError(f"{', '.join(twice)} twice in one map{node.start_mark}")
        return super().construct_mapping(node, deep=deep)


def helm(name: str = "helm") -> str:
    """Path of a Helm: the one that $HELM names, from PATH, or the one that `make` has built; skips without one."""
    given = os.environ.get("HELM") if name == "helm" else None
    built = Path(sys.executable).with_name(name)
    found = shutil.which(given or name) or shutil.which(built)
    if found:
        return found
    if name == "helm" and os.environ.get("CI"):
        pytest.fail("There is no helm here, and CI must have it: `make helm` builds it where Go is.")
    pytest.skip(f"there is no {name} here")


def run_helm(*arguments: str, name: str = "helm", stdin: str = "") -> str:
    """Run Helm and give what it prints.

    Raises
    ------
    RenderError
        When Helm fails; with what it says.
    """
    command = [helm(name), *arguments]
    # The version of the server comes from the arguments, never from a cluster that happens to be there.
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
    if done.returncode:
        raise RenderError(done.stderr + done.stdout)
    return done.stdout


def render(
    values: Mapping[str, Any] | None = None,
    *,
    files: Sequence[Path] = (),
    release: str = "ragline",
    api_versions: Sequence[str] = KEDA,
    name: str = "helm",
) -> tuple[Object, ...]:
    """Give the objects that the chart makes of these values. They are shared between tests: change none of them."""
    return _objects(json.dumps(values or {}), tuple(files), release, tuple(api_versions), name)


def render_text(values: Mapping[str, Any] | None = None, *, api_versions: Sequence[str] = KEDA) -> str:
    """Give what Helm prints for these values; several times faster than objects."""
    return _text_or_error(json.dumps(values or {}), (), "ragline", tuple(api_versions), "helm")


@cache
def _objects(
    values: str, files: tuple[Path, ...], release: str, apis: tuple[str, ...], name: str
) -> tuple[Object, ...]:
    return strict_load(_text_or_error(values, files, release, apis, name))


def _text_or_error(values: str, files: tuple[Path, ...], release: str, apis: tuple[str, ...], name: str) -> str:
    text = _text(values, files, release, apis, name)
    if isinstance(text, RenderError):
        raise text
    return text


@cache
def _text(values: str, files: tuple[Path, ...], release: str, apis: tuple[str, ...], name: str) -> str | RenderError:
    """Errors are returned, so that they are kept, too."""
    arguments = ["template", release, str(CHART), "--namespace", NAMESPACE, "--kube-version", KUBE_VERSION]
    for file in files:
        arguments += ["--values", str(file)]
    for version in apis:
        arguments += ["--api-versions", version]
    try:
        return run_helm(*arguments, "--values", "-", name=name, stdin=values)
    except RenderError as error:
        return error


def strict_load(text: str) -> tuple[Object, ...]:
    """Give the objects of a stream of YAML; a key that comes twice in one map is an error."""
    # A SafeLoader: it makes plain data only.
    return tuple(found for found in yaml.load_all(text, Loader=_StrictLoader) if found)


def by_kind(objects: Sequence[Object], *kinds: str) -> list[Object]:
    """All objects of these kinds."""
    return [found for found in objects if found["kind"] in kinds]


def find(objects: Sequence[Object], kind: str, name: str) -> Object:
    """Give the one object of this kind and name."""
    matching = [found for found in by_kind(objects, kind) if found["metadata"]["name"] == name]
    assert len(matching) == 1, f"{len(matching)} of {kind} {name}"
    return matching[0]


def pod_templates(objects: Sequence[Object]) -> dict[str, Object]:
    """All pods and templates of pods by kind and name, with `metadata` and `spec`."""
    found = {}
    for item in objects:
        name = f"{item['kind']}/{item['metadata']['name']}"
        if item["kind"] == "Pod":
            found[name] = item
        elif template := item.get("spec", {}).get("template"):
            found[name] = template
    assert found
    return found


def pod_specs(objects: Sequence[Object]) -> dict[str, Object]:
    """All specs of pods by kind and name."""
    return {name: template["spec"] for name, template in pod_templates(objects).items()}


def containers(objects: Sequence[Object]) -> Iterator[tuple[str, Object]]:
    """All containers, those that run first included, by the name of their pod and their own."""
    for name, spec in pod_specs(objects).items():
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            yield f"{name}/{container['name']}", container


def nested(path: str, value: object) -> dict[str, Any]:
    """Give the values that set one key: `nested("a.b", 1)` is `{"a": {"b": 1}}`."""
    for key in reversed(path.split(".")):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Give the values of all layers; a later one wins."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = result.get(key)
            result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result
