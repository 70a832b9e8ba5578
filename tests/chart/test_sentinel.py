"""A Redis of one's own behind Sentinels: how the parts and KEDA find the master."""

import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ragline.common.config import ApiConfig, WorkerConfig, load_config
from tests.support.chart import CHART, Object, RenderError, by_kind, find, merged, nested, pod_specs, render

SENTINEL = {"addresses": ["one.example.org:26379", "two.example.org:26380"], "master": "ours"}

WATCHED: dict[str, Any] = {
    "redis": {
        "enabled": False,
        "existingSecret": "our-redis",
        "external": {"port": 6390, "database": 2, "sentinel": SENTINEL},
    }
}

GUARDED = merged(WATCHED, nested("redis.external.sentinel.auth", value=True))


def _settings(objects: Sequence[Object]) -> dict[str, str]:
    data: dict[str, str] = find(objects, "ConfigMap", "ragline-config")["data"]
    return data


def _secret_files(spec: Object) -> set[str]:
    (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "secrets"]
    return {item["path"] for source in volume["projected"]["sources"] for item in source["secret"]["items"]}


@pytest.mark.parametrize(("values", "password"), [(WATCHED, None), (GUARDED, "of redis_sentinel_password")])
@pytest.mark.parametrize("kind", [ApiConfig, WorkerConfig])
def test_the_application_reads_it(
    values: dict[str, Any],
    password: str | None,
    kind: type[ApiConfig | WorkerConfig],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    objects = render(values)
    for name, value in _settings(objects).items():
        monkeypatch.setenv(name, value)
    for file in _secret_files(pod_specs(objects)["Deployment/ragline-worker-default"]):
        (tmp_path / file).write_text(f"of {file}", encoding="utf-8")
    server = load_config(kind, env_file=None, secrets_dir=tmp_path).redis_server
    assert (server.sentinels, server.master) == ((("one.example.org", 26379), ("two.example.org", 26380)), "ours")
    assert (server.database, server.password, server.sentinel_password) == (2, "of redis_password", password)


@pytest.mark.parametrize("part", ["api", "worker-default", "worker-rag", "flower"])
def test_the_sentinels_password_is_a_file_where_it_is_needed(part: str) -> None:
    own = {"redis_password", "redis_sentinel_password"}
    assert own <= _secret_files(pod_specs(render(GUARDED))[f"Deployment/ragline-{part}"])
    assert "redis_sentinel_password" not in _secret_files(pod_specs(render(WATCHED))[f"Deployment/ragline-{part}"])


def test_without_sentinels_nothing_speaks_of_them() -> None:
    assert "REDIS_SENTINEL_MASTER" not in _settings(render())


def test_keda_asks_the_sentinels() -> None:
    objects = render(WATCHED)
    triggers = [trigger for scaled in by_kind(objects, "ScaledObject") for trigger in scaled["spec"]["triggers"]]
    assert len(triggers) == 12
    for trigger in triggers:
        assert trigger["type"] == "redis-sentinel"
        metadata = {name: value for name, value in trigger["metadata"].items() if not name.startswith("list")}
        assert metadata == {
            "addresses": "one.example.org:26379,two.example.org:26380",
            "sentinelMaster": "ours",
            "databaseIndex": "2",
        }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (WATCHED, {"password": "redis_password"}),
        (GUARDED, {"password": "redis_password", "sentinelPassword": "redis_sentinel_password"}),
    ],
)
def test_keda_gets_the_passwords_from_the_secret(values: dict[str, Any], expected: dict[str, str]) -> None:
    (authentication,) = by_kind(render(values), "TriggerAuthentication")
    targets = authentication["spec"]["secretTargetRef"]
    assert {target["parameter"]: target["key"] for target in targets} == expected
    assert {target["name"] for target in targets} == {"our-redis"}


def test_sentinels_and_servers_may_be_called() -> None:
    policy = find(render(WATCHED), "NetworkPolicy", "ragline-redis-outside")
    assert policy["spec"]["egress"][0]["ports"] == [{"port": 6390}, {"port": 26379}, {"port": 26380}]


@pytest.mark.parametrize(
    ("values", "sentinel"), [(WATCHED, {}), (GUARDED, {"sentinel_kwargs": {"password": "wat;ch"}})]
)
def test_flower_asks_the_sentinels(
    values: dict[str, Any], sentinel: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    objects = render(values)
    (container,) = pod_specs(objects)["Deployment/ragline-flower"]["containers"]
    (url,) = [entry["value"] for entry in container["env"] if entry["name"] == "REDIS_URL"]
    monkeypatch.setenv("REDIS_URL", url)
    (tmp_path / "redis_password").write_text("p@,;w", encoding="utf-8")
    (tmp_path / "redis_sentinel_password").write_text("wat;ch\n", encoding="utf-8")
    module = tmp_path / "celeryconfig.py"
    text = find(objects, "ConfigMap", "ragline-flower")["data"]["celeryconfig.py"]
    module.write_text(text.replace("/run/secrets/ragline", str(tmp_path)), encoding="utf-8")
    settings = runpy.run_path(str(module))
    user = "sentinel://:p%40%2C%3Bw@"
    assert settings["broker_url"] == f"{user}one.example.org:26379/2;{user}two.example.org:26380/2"
    assert settings["broker_transport_options"] == {"master_name": "ours", **sentinel}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (nested("redis.enabled", value=True), "exactly one of the three"),
        (nested("redis.external.host", "x"), "exactly one of the three"),
        (nested("redis.external.sentinel.master", ""), "go together"),
        (nested("redis.external.sentinel.addresses", []), "exactly one of the three"),
        (nested("redis.external.sentinel", {"addresses": [], "auth": True, "master": ""}), "exactly one of the three"),
        (nested("redis.existingSecret", ""), "redis_sentinel_password"),
        (nested("redis.external.tls", value=True), "without TLS"),
        (nested("redis.external.sentinel.addresses", ["no-port"]), "does not match pattern"),
        (nested("redis.external.sentinel.addresses", ["redis://one:1"]), "does not match pattern"),
    ],
)
def test_what_cannot_work_is_refused(change: dict[str, Any], named: str) -> None:
    assert render(GUARDED)
    with pytest.raises(RenderError, match=named):
        render(merged(GUARDED, change))


def test_a_master_alone_is_refused() -> None:
    with pytest.raises(RenderError, match="go together"):
        render(nested("redis.external.sentinel.master", "ours"))
    with pytest.raises(RenderError, match="auth=true needs"):
        render(nested("redis.external.sentinel.auth", value=True))


def test_the_values_say_what_a_failover_may_lose() -> None:
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    (row,) = [line for line in readme.splitlines() if "`redis.external.sentinel.addresses`" in line]
    assert "replication is asynchronous" in row
