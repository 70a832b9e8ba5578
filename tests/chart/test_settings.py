"""What the chart puts into the environment is what the application reads."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import SecretStr

from ragline.api.server import ApiServer
from ragline.common.config import ApiConfig, WorkerConfig, load_config
from ragline.common.constants import SECRETS_DIR
from tests.chart.variants import OUTSIDE, VARIANTS, every_variant, variant
from tests.support.chart import CHART, Object, by_kind, containers, find, merged, nested, pod_specs, render

FIELDS = {**ApiConfig.model_fields, **WorkerConfig.model_fields}

# Settings that no value and no template sets, each with its reason.
LEFT_ALONE = {
    "api_host": "the image listens on all addresses",
    "api_port": "the image listens on the port that the Service names",
    "cache_dir": "the image holds the model's graph ready to use",
}

# Names that are not settings of ours, and who reads them.
OF_OTHERS = {
    "AWS_ACCESS_KEY_ID": "the object store's client",
    "AWS_SECRET_ACCESS_KEY": "the object store's client",
    "AWS_ENDPOINT_URL": "the object store's client",
    "AWS_REGION": "the object store's client",
    "OTEL_RESOURCE_ATTRIBUTES": "OpenTelemetry's SDK",
    "WEB_CONCURRENCY": "gunicorn",
}

APPLICATION = ("api", "worker")

SCHEMES = ("redis", "rediss", "sentinel")


def _config(objects: Sequence[Object]) -> dict[str, str]:
    data: dict[str, str] = find(objects, "ConfigMap", "ragline-config")["data"]
    assert data
    return data


def _environments(objects: Sequence[Object]) -> dict[str, dict[str, Any]]:
    """The environment of each container of the application; what a container says wins over the ConfigMap."""
    found = {}
    for name, container in containers(objects):
        if container["name"] in APPLICATION:
            own = {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}
            assert {"configMapRef": {"name": "ragline-config"}} in container["envFrom"]
            found[name] = {**_config(objects), **own}
    named = {deployment["metadata"]["name"] for deployment in by_kind(objects, "Deployment")}
    assert {name.split("/")[1] for name in found} == named - {"ragline-flower", "ragline-jaeger"}
    return found


def _secret_files(spec: dict[str, Any], folder: Path = SECRETS_DIR) -> Iterable[str]:
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for mount in spec["containers"][0]["volumeMounts"]:
        if mount["mountPath"] == str(folder):
            for source in volumes[mount["name"]].get("projected", {}).get("sources", []):
                yield from (item["path"] for item in source["secret"]["items"])


def _from_values() -> dict[str, Any]:
    """`config` of values.yaml by the names of our settings."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    own = yaml.safe_load(text)["config"]
    by_name = {name.replace("_", ""): name for name in FIELDS}
    unknown = [key for key in own if key.lower() not in by_name]
    assert unknown == []
    return {by_name[key.lower()]: value for key, value in own.items()}


def test_defaults_of_the_chart_are_those_of_the_application() -> None:
    for name, value in _from_values().items():
        default = FIELDS[name].default
        assert value == ("" if default is None else default), name


def test_every_setting_has_its_place() -> None:
    set_by_chart: set[str] = set()
    files: set[str] = set()
    for objects in (variant("everything"), variant("sentinels"), variant("collector")):
        set_by_chart |= {name.lower() for environment in _environments(objects).values() for name in environment}
        files |= {name for spec in pod_specs(objects).values() for name in _secret_files(spec)}
    assert FIELDS.keys() - set_by_chart - files == LEFT_ALONE.keys()
    assert files <= FIELDS.keys()


@every_variant
def test_every_name_is_read_by_somebody(objects: Sequence[Object]) -> None:
    for name, environment in _environments(objects).items():
        assert {entry.lower() for entry in environment.keys() - OF_OTHERS.keys()} <= FIELDS.keys(), name


@pytest.mark.parametrize("name", VARIANTS)
def test_the_application_starts_with_it(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for key, environment in _environments(variant(name)).items():
        with monkeypatch.context() as patch:
            for field, value in environment.items():
                patch.setenv(field, value if isinstance(value, str) else "from-a-secret")
            for file in _secret_files(pod_specs(variant(name))[key.rpartition("/")[0]]):
                (tmp_path / file).write_text("from-a-secret", encoding="utf-8")
            kind = ApiConfig if key.endswith("/api") else WorkerConfig
            config = load_config(kind, env_file=None, secrets_dir=tmp_path)
        password = "" if name == "no-password" else ":from-a-secret@"
        assert config.redis_address.startswith(tuple(f"{scheme}://{password}" for scheme in SCHEMES))


def test_addresses_inside() -> None:
    assert {key: value for key, value in _config(render()).items() if key.endswith("_URL")} == {
        "OPENAI_BASE_URL": "https://api.openai.com/v1",
        "REDIS_URL": "redis://ragline-redis:6379/0",
        "CHROMA_URL": "http://ragline-chroma:8000",
        "OBJECT_STORE_URL": "s3://ragline",
        "AWS_ENDPOINT_URL": "http://ragline-object-store:7070",
    }


def test_addresses_outside() -> None:
    config = _config(render(OUTSIDE))
    assert config["REDIS_URL"] == "rediss://redis.example.org:6390/2"
    assert config["CHROMA_URL"] == "https://chroma.example.org"
    assert config["OBJECT_STORE_URL"] == "s3://ours/rag"
    assert config["AWS_REGION"] == "eu-central-1"
    assert "AWS_ENDPOINT_URL" not in config


def test_a_bucket_outside_brings_its_keys_by_name() -> None:
    for name, container in containers(render(OUTSIDE)):
        if container["name"] in APPLICATION:
            assert {"secretRef": {"name": "our-bucket"}} in container["envFrom"], name
            assert not [entry for entry in container["env"] if entry["name"].startswith("AWS_")], name


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"extraEnv": {"LOG_LEVEL": "DEBUG"}}, {"api": "DEBUG", "rag": "DEBUG"}),
        ({"api": {"extraEnv": {"LOG_LEVEL": "DEBUG"}}}, {"api": "DEBUG", "rag": "INFO"}),
        ({"worker": {"defaults": {"extraEnv": {"LOG_LEVEL": "DEBUG"}}}}, {"api": "INFO", "rag": "DEBUG"}),
        (
            {"extraEnv": {"LOG_LEVEL": "DEBUG"}, "worker": {"queues": {"rag": {"extraEnv": {"LOG_LEVEL": "ERROR"}}}}},
            {"api": "DEBUG", "rag": "ERROR"},
        ),
        # What the template itself sets can be overridden, too.
        ({"api": {"extraEnv": {"ENABLE_AUTH": "DEBUG"}}}, {"api": "INFO", "rag": "INFO"}),
    ],
)
def test_a_later_layer_wins_by_name(values: dict[str, Any], expected: dict[str, str]) -> None:
    found = _environments(render(values))
    assert found["Deployment/ragline-api/api"]["LOG_LEVEL"] == expected["api"]
    assert found["Deployment/ragline-worker-rag/worker"]["LOG_LEVEL"] == expected["rag"]


def test_environment_from_a_secret() -> None:
    reference = {"secretKeyRef": {"name": "ours", "key": "k"}}
    found = _environments(render({"extraEnv": {"OPENAI_API_KEY": {"valueFrom": reference}}}))
    assert [environment["OPENAI_API_KEY"] for environment in found.values()] == [reference] * len(found)


FIELD = {"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}

SECRET = {"valueFrom": {"secretKeyRef": {"name": "ours", "key": "k"}}}

LAYERS = ["extraEnv", "worker.defaults.extraEnv", "worker.queues.rag.extraEnv"]


@pytest.mark.parametrize(("first", "second"), [(FIELD, SECRET), (SECRET, FIELD), (FIELD, "text"), ("text", SECRET)])
@pytest.mark.parametrize(("lower", "upper"), [(0, 1), (0, 2), (1, 2)])
def test_a_later_layer_replaces_the_whole_entry(lower: int, upper: int, first: object, second: object) -> None:
    values = merged(nested(f"{LAYERS[lower]}.OURS", first), nested(f"{LAYERS[upper]}.OURS", second))
    assert _entry(render(values), "Deployment/ragline-worker-rag/worker", "OURS") == second


@pytest.mark.parametrize("layer", ["extraEnv", "api.extraEnv"])
@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "UPLOAD_ROOT"])
@pytest.mark.parametrize("given", [FIELD, "text"])
def test_the_charts_own_entries_are_replaced_whole(layer: str, name: str, given: object) -> None:
    found = _entry(render(nested(f"{layer}.{name}", given)), "Deployment/ragline-api/api", name)
    assert found == (given if layer == "api.extraEnv" or name.startswith("AWS_") else "/app/storage/uploads")


def _entry(objects: Sequence[Object], container: str, name: str) -> object:
    """What a container's environment says of one name, as `extraEnv` would."""
    (entry,) = [entry for entry in dict(containers(objects))[container]["env"] if entry["name"] == name]
    return entry.get("value", {key: value for key, value in entry.items() if key != "name"})


@pytest.mark.parametrize("grace", [90, 75, 3615])
def test_open_requests_end_before_the_kill(grace: int) -> None:
    objects = render(nested("api.terminationGracePeriodSeconds", grace))
    spec = pod_specs(objects)["Deployment/ragline-api"]
    drain = float(_environments(objects)["Deployment/ragline-api/api"]["DRAIN_SECONDS"])
    before = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    longest = ApiServer(ApiConfig(drain_seconds=drain)).cfg.graceful_timeout
    assert ApiConfig().query_timeout_seconds <= drain
    assert before + longest < spec["terminationGracePeriodSeconds"] == grace


def test_secrets_are_in_no_variable_of_ours() -> None:
    secret = {
        name.upper() for name, field in FIELDS.items() if SecretStr in (field.annotation, *get_args(field.annotation))
    }
    assert secret
    for name, environment in _environments(variant("everything")).items():
        assert not (secret - {"REDIS_URL"}) & environment.keys(), name


def test_each_pod_gets_the_secrets_it_needs() -> None:
    files = {name: sorted(_secret_files(spec)) for name, spec in pod_specs(variant("everything")).items()}
    worker = ["openai_api_key", "redis_password"]
    assert files["Deployment/ragline-api"] == ["api_keys", "redis_password"]
    assert files["Deployment/ragline-worker-rag"] == worker
    assert files["Deployment/ragline-flower"] == ["redis_password"]
    assert files["Deployment/ragline-jaeger"] == []
