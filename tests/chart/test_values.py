"""values.yaml is the contract: described, enforced, and each value does something."""

import re
from functools import reduce
from typing import Any

import pytest

from charts.values_docs import CHART, Value, ValuesError, generated, leaves, schema, values
from tests.chart.variants import ALL_APIS, COLLECTOR, MONITORING, OUTSIDE
from tests.support.chart import RenderError, merged, nested, render, render_text

TEXT = (CHART / "values.yaml").read_text(encoding="utf-8")

FOUND = values(TEXT)

LEAVES = {value.key: value for value in leaves(FOUND)}


def test_schema_and_page_are_up_to_date() -> None:
    for path, text in generated(TEXT).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale: run `make chart-docs`"


def test_there_is_something_to_check() -> None:
    assert {"config.chunkSize", "worker.queues", "redis.image.tag"} <= LEAVES.keys()
    assert len(TEXT.splitlines()) <= 800


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a:\n  b: 1\n", "a.b has no description"),
        ("# Not a description.\na: 1\n", "a has no description"),
        ("# -- A.\n# @schema {\na: 1\n", "a has a schema that is no YAML"),
        ("# -- A.\n# @schema x\na: 1\n", "a has a schema that is no map"),
    ],
)
def test_a_value_that_is_not_described_is_an_error(text: str, problem: str) -> None:
    with pytest.raises(ValuesError, match=problem):
        values(text)


def test_types_come_from_defaults_and_objects_are_closed() -> None:
    text = (
        "a:\n  # -- B, which is\n  # long.\n  # @schema {minimum: 1}\n  b: 1\n"
        "# -- C.\n# @schema {additionalProperties: true}\nc: {d: 1}\n"
    )
    found = schema(values(text))["properties"]
    assert found["a"] == {
        "type": "object",
        "additionalProperties": False,
        "properties": {"b": {"description": "B, which is long.", "type": "integer", "minimum": 1}},
    }
    assert found["c"] == {"description": "C.", "type": "object", "additionalProperties": True}


def _objects(found: list[Value]) -> list[str]:
    return [value.key for value in found if value.children] + [
        inner for value in found for inner in _objects(value.children)
    ]


def _refused(values: dict[str, Any]) -> set[str]:
    """Helm lists everything it refuses at once: where it is, and why."""
    with pytest.raises(RenderError) as refused:
        render(values)
    return set(re.findall(r"^ *- at '/?(.*?)': (?:got|additional properties) ", str(refused.value), re.MULTILINE))


def test_an_unknown_key_is_refused_wherever_it_is() -> None:
    places = [*_objects(FOUND), "worker.queues.document"]
    given = merged({"unheardOf": 1}, *(nested(f"{place}.unheardOf", 1) for place in places))
    assert _refused(given) == {"", *(place.replace(".", "/") for place in places)}


@pytest.mark.parametrize("key", ["chunkSise", "config.chunkSise", "worker.queues.document.extraVolumez"])
def test_a_typo_is_named(key: str) -> None:
    with pytest.raises(RenderError, match=f"additional properties '{key.rpartition('.')[2]}' not allowed"):
        render(nested(key, {}))


def test_a_wrong_type_is_refused_by_its_name() -> None:
    wrong = merged(*(nested(key, _of_a_wrong_type(LEAVES[key])) for key in LEAVES))
    assert _refused(wrong) == {key.replace(".", "/") for key in LEAVES}


def _of_a_wrong_type(value: Value) -> object:
    return next(bad for kind, bad in (("array", ["x"]), ("object", {"x": ["y"]})) if kind not in value.schema["type"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("config.chunkSize", 99),
        ("config.logLevel", "LOUD"),
        ("config.openaiBaseUrl", "ftp://x"),
        ("api.image.digest", "sha256:0"),
        ("api.service.port", 70000),
        ("worker.queues.document.tasksPerReplica", 0),
        ("worker.queues.Document", {}),
        ("worker.queues.a-queue-with-a-long-name", {}),
        ("worker.queues.document.scaler", "magic"),
        ("auth.apiKeys", ["short"]),
        ("redis.maxMemory", "800MB"),
        ("objectStore.external.url", "file:///x"),
        ("tracing.endpoint", "collector:4318"),
        ("tracing.sampleRatio", 1.5),
        ("nameOverride", "n" * 41),
        ("extraEnv.NUMBER", 1),
    ],
)
def test_what_is_out_of_range_is_refused(key: str, value: object) -> None:
    with pytest.raises(RenderError, match=f"at '/{key.split('.', maxsplit=1)[0]}"):
        render(nested(key, value))


@pytest.mark.parametrize("place", ["worker.defaults", "worker.queues.rag", "worker.queues.reports"])
@pytest.mark.parametrize(
    ("seconds", "said"), [(30, "minimum: got 30, want 31"), (3611, "maximum: got 3,611, want 3,610")]
)
def test_a_grace_period_that_cannot_be_kept_is_named(place: str, seconds: int, said: str) -> None:
    key = f"{place}.terminationGracePeriodSeconds"
    with pytest.raises(RenderError, match=f"at '/{key.replace('.', '/')}': {said}"):
        render(nested(key, seconds))


def test_a_chart_around_this_one_may_have_global_values() -> None:
    assert render({"global": {"anything": 1}})


# What has to be set for a value to count; the longest key that fits, wins.
STAGES: dict[str, dict[str, Any]] = {
    "api.replicas": {"api": {"autoscaling": {"enabled": False}}},
    "auth": {"auth": {"enabled": True, "existingSecret": "ours"}},
    "auth.apiKeys": {"auth": {"enabled": True, "apiKeys": ["0123456789abcdef"]}},
    "auth.existingSecret": {"auth": {"enabled": True, "apiKeys": ["0123456789abcdef"]}},
    "chroma.external": OUTSIDE,
    "objectStore.external": OUTSIDE,
    "redis.external": OUTSIDE,
    "flower.persistence": {"flower": {"persistence": {"enabled": True}}},
    "gatewayApi": {"gatewayApi": {"enabled": True, "parentRefs": [{"name": "x"}]}},
    "ingress": {"ingress": {"enabled": True, "host": "example.org", "tls": {"enabled": True}}},
    "jaeger": {"jaeger": {"enabled": True}},
    "jaeger.persistence": {"jaeger": {"enabled": True, "persistence": {"enabled": True}}},
    "monitoring": MONITORING,
    "networkPolicy.collector": COLLECTOR,
    "networkPolicy.outside": OUTSIDE,
    "networkPolicy.prometheusNamespace": MONITORING,
    "tracing": COLLECTOR,
    "worker.defaults.replicas": {"worker": {"defaults": {"scaler": "none"}}},
    "worker.defaults.targetCpuPercent": {"worker": {"defaults": {"scaler": "hpa"}}},
}

SAMPLES: dict[str, Any] = {
    "auth.apiKeys": ["another-key-of-ours"],
    "chroma.external.url": "http://other",
    "extraObjects": ["apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labels: {}}\n"],
    "gatewayApi.hostnames": ["example.org"],
    "gatewayApi.parentRefs": [{"name": "y"}],
    "imagePullSecrets": [{"name": "x"}],
    "monitoring.serviceMonitor.interval": "1m",
    "networkPolicy.dns.ports": [5353],
    "objectStore.external.url": "gs://other",
    "redis.external.sentinel.addresses": ["one.example.org:26379"],
    "redis.maxMemory": "700mb",
    "tracing.endpoint": "http://other:4318",
    "tracing.sampleRatio": 0.5,
    "worker.defaults.scaler": "hpa",
    "worker.queues": {"reports": {}},
}


def _stage(key: str) -> dict[str, Any]:
    fitting = [stage for stage in STAGES if key == stage or key.startswith(f"{stage}.")]
    return STAGES[max(fitting, key=len)] if fitting else {}


def _another(value: Value, stage: dict[str, Any]) -> object:
    """A value that is allowed and is not the one on that stage."""
    if value.key.endswith(".persistence.size"):
        return "3Gi"
    if value.key in SAMPLES or value.key.endswith(".digest"):
        return SAMPLES.get(value.key, "sha256:" + "1" * 64)
    now = reduce(lambda found, name: found.get(name, {}), value.path, stage) or value.default
    if now is None:
        return 30080
    choices: dict[type, list[object]] = {
        bool: [not now],
        str: [choice for choice in value.schema.get("enum", [f"{now}x"]) if choice != now],
        int: [now - 1 if now == value.schema.get("maximum") else now + 1] if isinstance(now, int) else [],
        list: [[{"name": "x"}]],
        dict: [{"x": "y"}],
    }
    return choices[type(now)][0]


def _text(values: dict[str, Any]) -> str:
    # With these given, nothing is random.
    given: dict[str, Any] = {"redis": {"password": "given"}, "flower": {"password": "given"}}
    if values.get("objectStore", {}).get("enabled", True):
        given["objectStore"] = {"existingSecret": "ours"}
    return render_text(merged(given, values), api_versions=ALL_APIS)


@pytest.mark.parametrize("key", LEAVES)
def test_every_value_does_something(key: str) -> None:
    stage = _stage(key)
    assert _outcome(stage) != _outcome(merged(stage, nested(key, _another(LEAVES[key], stage))))


def _outcome(values: dict[str, Any]) -> str:
    """What is rendered; or what a check says, which is an effect, too."""
    try:
        return _text(values)
    except RenderError as refused:
        if "execution error" not in str(refused):
            raise
        return str(refused)


LONGEST = {".yaml": 120, ".tpl": 150}
"""Lines of a template, and of a file of helpers."""


def test_templates_are_short() -> None:
    files = [path for path in CHART.glob("templates/**/*") if path.suffix in LONGEST]
    assert {path.suffix for path in files} == LONGEST.keys()
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path.name: count for path, count in lines.items() if count > LONGEST[path.suffix]} == {}


def test_nothing_is_looked_up_but_secrets_of_the_releases_own_namespace() -> None:
    """Whoever installs into one namespace may not read what the cluster owns; a refused look-up ends an install."""
    texts = [path.read_text(encoding="utf-8") for path in CHART.glob("templates/**/*.*")]
    looked_up = [found for text in texts for found in re.findall(r"\blookup +[\"(.$].*?(?= -?}})", text)]
    assert looked_up == ['lookup "v1" "Secret" .root.Release.Namespace .secret']
