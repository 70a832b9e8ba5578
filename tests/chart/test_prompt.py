"""A system prompt of one's own reaches the worker that writes answers."""

from pathlib import Path
from typing import Any

import pytest

from ragline.pipeline.generators.prompts import read_template
from tests.support.chart import Object, by_kind, find, pod_specs, pod_templates, render

TEMPLATE = 'Be brief, Zoë.\n\n- {no_evidence}: {{literally}} "none"\n- {fence}\n'

RAG = "Deployment/ragline-worker-rag"


def _mounted(objects: tuple[Object, ...]) -> dict[str, tuple[str, str]]:
    """Path of the template and name of its ConfigMap for each pod that has one."""
    found = {}
    for name, spec in pod_specs(objects).items():
        (container, *_) = spec["containers"]
        paths = [entry["value"] for entry in container.get("env", []) if entry["name"] == "PROMPT_TEMPLATE"]
        volumes = [volume["configMap"] for volume in spec["volumes"] if volume["name"] == "prompt"]
        mounts = [mount for mount in container["volumeMounts"] if mount["name"] == "prompt"]
        assert len(paths) == len(volumes) == len(mounts), name
        for path, volume, mount in zip(paths, volumes, mounts, strict=True):
            assert mount["readOnly"] is True
            assert path == f"{mount['mountPath']}/{volume['items'][0]['path']}"
            found[name] = (path, volume["name"])
    return found


def test_the_default_is_the_built_in_one() -> None:
    assert _mounted(render()) == {}
    assert "ragline-prompt" not in [found["metadata"]["name"] for found in by_kind(render(), "ConfigMap")]


def test_a_template_in_values(tmp_path: Path) -> None:
    objects = render({"promptTemplate": TEMPLATE})
    assert _mounted(objects) == {RAG: ("/etc/ragline/prompt.txt", "ragline-prompt")}
    file = tmp_path / "prompt.txt"
    file.write_text(find(objects, "ConfigMap", "ragline-prompt")["data"]["prompt.txt"], encoding="utf-8")
    assert read_template(file).system == TEMPLATE.strip()


def test_a_template_in_a_config_map_of_ones_own() -> None:
    objects = render({"promptConfigMap": "ours"})
    assert _mounted(objects) == {RAG: ("/etc/ragline/prompt.txt", "ours")}
    assert "ragline-prompt" not in [found["metadata"]["name"] for found in by_kind(objects, "ConfigMap")]


@pytest.mark.parametrize("other", [{}, {"promptTemplate": f"{TEMPLATE}."}])
def test_another_template_restarts_that_worker_alone(other: dict[str, Any]) -> None:
    before, after = (pod_templates(render(values)) for values in ({"promptTemplate": TEMPLATE}, other))
    annotations = {name for name in before if before[name].get("metadata") != after[name].get("metadata")}
    assert annotations == {RAG}
