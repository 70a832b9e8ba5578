from collections.abc import Callable
from pathlib import Path
from runpy import run_module

import pytest

from ragline.cli.supervisor.parts import StopOrder
from ragline.cli.supervisor.plan import Extras, Plan, load_settings, make_plan
from ragline.common.config import ApiConfig, ConfigError, LocalConfig, WorkerConfig
from ragline.common.queues import Queue

Planner = Callable[..., Plan]

NONE = Extras()
FLOWER = Extras(flower=True)
OBSERVE = Extras(observe=True)


@pytest.fixture
def plan_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planner:
    """Makes the plan for these settings in the environment, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    for config in (ApiConfig, WorkerConfig, LocalConfig):
        for name in config.model_fields:
            monkeypatch.delenv(name.upper(), raising=False)

    def plan(*, extras: Extras = NONE, data_dir: Path | None = None, **settings: str) -> Plan:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        return make_plan(load_settings(data_dir), extras)

    return plan


def test_everything_runs_here_unless_said_otherwise(plan_with: Planner, tmp_path: Path) -> None:
    plan = plan_with()
    workers = [f"worker-{queue}" for queue in Queue]
    assert [part.name for part in plan.parts] == ["valkey", "chroma", "api", *workers]
    assert {port.number for port in plan.ports} == {8000, 6380, 8001}
    assert plan.data_dir == tmp_path / "storage"
    assert plan.flower_url is None


def test_addresses_reach_the_parts_by_environment(plan_with: Planner, tmp_path: Path) -> None:
    parts = {part.name: part for part in plan_with(data_dir=tmp_path / "data").parts}
    assert parts["api"].env == parts["worker-rag"].env
    assert parts["api"].env == {
        "REDIS_URL": "redis://127.0.0.1:6380/0",
        "CHROMA_URL": "http://127.0.0.1:8001",
        "OBJECT_STORE_URL": f"file://{tmp_path}/data/objects",
        "UPLOAD_ROOT": f"{tmp_path}/data/uploads",
        "CACHE_DIR": f"{tmp_path}/data/cache",
        "API_PORT": "8000",
        "LOG_FORMAT": "console",
        "RATE_LIMIT_GENERAL_PER_MINUTE": "0",
        "RATE_LIMIT_RAG_PER_MINUTE": "0",
        "PYTHONUNBUFFERED": "1",
    }


def test_a_store_of_the_users_own_is_used_and_not_started(plan_with: Planner) -> None:
    given = {"REDIS_URL": "redis://:s3cret@elsewhere:6379/0", "CHROMA_URL": "http://elsewhere:8000"}
    plan = plan_with(**given, OBJECT_STORE_URL="s3://bucket", extras=FLOWER)
    assert plan.parts[0].name == "api"
    assert plan.parts[0].needs == ()
    assert {port.owner for port in plan.ports} == {"API", "Flower"}
    for part in plan.parts:
        assert {name: part.env[name] for name in given} == given
        assert part.env["OBJECT_STORE_URL"] == "s3://bucket"
        assert not any("s3cret" in word for word in part.argv)


def test_a_password_needs_a_redis_of_the_users_own(plan_with: Planner) -> None:
    plan = plan_with(REDIS_URL="redis://elsewhere:6379/0", REDIS_PASSWORD="s3/cret")
    urls = {plan.redis_url, *(part.env["REDIS_URL"] for part in plan.parts if part.name != "chroma")}
    assert urls == {"redis://:s3%2Fcret@elsewhere:6379/0"}
    with pytest.raises(ConfigError, match="REDIS_PASSWORD needs REDIS_URL"):
        plan_with(REDIS_URL="")


def test_a_redis_behind_sentinels_is_used_and_not_started(plan_with: Planner) -> None:
    plan = plan_with(
        REDIS_URL="sentinel://one:1,two:2/0", REDIS_SENTINEL_MASTER="m", REDIS_PASSWORD="pw", extras=FLOWER
    )
    assert "valkey" not in [part.name for part in plan.parts]
    assert {part.env["REDIS_URL"] for part in plan.parts if part.name != "chroma"} == {"sentinel://:pw@one:1,two:2/0"}


def test_flower_is_told_the_broker_by_the_settings_of_all(plan_with: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_with(
        REDIS_URL="sentinel://one:1,two:2/0", REDIS_SENTINEL_MASTER="m", REDIS_PASSWORD="pw", extras=FLOWER
    )
    flower = plan.parts[-1]
    assert not any("pw" in word for word in flower.argv)
    for name, value in flower.env.items():
        monkeypatch.setenv(name, value)
    settings = run_module(flower.env["CELERY_CONFIG_MODULE"])
    assert settings["broker_url"] == "sentinel://:pw@one:1/0;sentinel://:pw@two:2/0"
    assert settings["broker_transport_options"]["master_name"] == "m"


def test_the_observer_is_told_of_every_request_and_ends_last(plan_with: Planner) -> None:
    plan = plan_with(extras=OBSERVE, OBSERVER_PORT="4400")
    observer, parts = plan.parts[0], {part.name: part for part in plan.parts}
    assert (observer.name, plan.observer_url) == ("observer", "http://127.0.0.1:4400")
    assert 4400 in {port.number for port in plan.ports}
    assert max(part.stop_order for part in plan.parts) == observer.stop_order == StopOrder.OBSERVER
    endpoints = {parts[name].env["OTEL_EXPORTER_OTLP_ENDPOINT"] for name in ("api", *(f"worker-{q}" for q in Queue))}
    assert endpoints == {plan.observer_url}


def test_without_being_asked_nobody_is_observed(plan_with: Planner) -> None:
    plan = plan_with()
    assert plan.observer_url is None
    assert not any("OTEL_EXPORTER_OTLP_ENDPOINT" in part.env for part in plan.parts)


def test_a_collector_of_the_users_own_is_used_and_no_observer_started(plan_with: Planner) -> None:
    plan = plan_with(extras=OBSERVE, OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318")
    assert plan.observer_url is None
    assert "observer" not in [part.name for part in plan.parts]
    # It comes to the parts as every setting of the environment does.
    assert not any("OTEL_EXPORTER_OTLP_ENDPOINT" in part.env for part in plan.parts)


def test_what_the_user_set_is_left_alone(plan_with: Planner, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("UPLOAD_ROOT=/srv/pdfs\nLOG_FORMAT=json\nRATE_LIMIT_RAG_PER_MINUTE=5\n")
    env = plan_with(CACHE_DIR="/srv/cache").parts[-1].env
    assert {"UPLOAD_ROOT", "LOG_FORMAT", "CACHE_DIR", "RATE_LIMIT_RAG_PER_MINUTE"}.isdisjoint(env)


def test_the_broker_starts_first_and_stops_last(plan_with: Planner) -> None:
    parts = plan_with(extras=FLOWER).parts
    assert {part.name: part.stop_order for part in parts if part.stop_order} == {
        "valkey": StopOrder.BROKER,
        "chroma": StopOrder.VECTORS,
    }
    assert all(part.needs == ("valkey",) for part in parts if not part.stop_order)


def test_valkey_keeps_what_it_acknowledged(plan_with: Planner) -> None:
    command = " ".join(plan_with().parts[0].argv)
    assert "--appendonly yes --appendfsync always --maxmemory-policy noeviction" in command
    assert "--bind 127.0.0.1 --port 6380" in command


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9000"),
        ("0.0.0.0", "http://127.0.0.1:9000"),  # noqa: S104
        ("::", "http://[::1]:9000"),
        ("::1", "http://[::1]:9000"),
    ],
)
def test_the_api_is_reached_at_an_address_one_can_connect_to(plan_with: Planner, host: str, url: str) -> None:
    plan = plan_with(API_HOST=host, API_PORT="9000")
    assert plan.api_url == url
    assert plan.ports[0].host == host


def test_a_wrong_setting_of_any_process_is_found_before_the_start(plan_with: Planner) -> None:
    with pytest.raises(ConfigError, match="CHUNK_OVERLAP"):
        plan_with(CHUNK_SIZE="200", CHUNK_OVERLAP="300")


def test_folders_are_made(plan_with: Planner, tmp_path: Path) -> None:
    plan_with().make_folders()
    assert {path.name for path in (tmp_path / "storage").iterdir()} == {
        "cache",
        "chroma",
        "objects",
        "redis",
        "uploads",
    }
