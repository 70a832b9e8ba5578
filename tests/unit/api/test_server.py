"""The API's server in a container, as far as it can be seen without starting it."""

import json

import pytest

from ragline.api.server import ApiServer, ApiWorker, main
from ragline.common.config import ApiConfig
from ragline.common.logging import configure_logging
from tests.support.logs import logging_as_before


@pytest.mark.parametrize(("host", "bind"), [("192.0.2.1", "192.0.2.1:8000"), ("::", "[::]:8000")])
def test_our_settings_reach_gunicorn(host: str, bind: str) -> None:
    cfg = ApiServer(ApiConfig(api_host=host, web_concurrency=3)).cfg
    assert (cfg.bind, cfg.workers, cfg.control_socket_disable) == ([bind], 3, True)


@pytest.mark.parametrize(("given", "waits"), [(1, 1), (70, 70), (1.5, 2), (3600, 3600)])
def test_open_requests_end_before_gunicorn_loses_patience(given: float, waits: int) -> None:
    cfg = ApiServer(ApiConfig(drain_seconds=given)).cfg
    assert issubclass(cfg.worker_class, ApiWorker)
    expected = {**ApiWorker.CONFIG_KWARGS, "timeout_graceful_shutdown": waits}
    assert (cfg.worker_class.CONFIG_KWARGS, cfg.graceful_timeout) == (expected, waits + 5)


def test_a_synchronous_answer_is_waited_for() -> None:
    config = ApiConfig()
    assert config.drain_seconds > config.query_timeout_seconds


@pytest.mark.parametrize(("name", "value"), [("CHUNK_SIZE", "1"), ("OBJECT_STORE_URL", "ftp://nowhere")])
def test_a_wrong_setting_is_one_line(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)

    with logging_as_before():
        configure_logging(level="INFO", log_format="json")
        assert main() == 2
    said = json.loads(capsys.readouterr().err)
    assert said["event"] == "not started"
    assert name in said["reason"]
