"""The API's server in a container, as far as it can be seen without starting it."""

import pytest

from ragline.api.server import ApiServer, ApiWorker, main
from ragline.common.config import ApiConfig


@pytest.mark.parametrize(("host", "bind"), [("192.0.2.1", "192.0.2.1:8000"), ("::", "[::]:8000")])
def test_our_settings_reach_gunicorn(host: str, bind: str) -> None:
    cfg = ApiServer(ApiConfig(api_host=host, web_concurrency=3)).cfg
    assert (cfg.bind, cfg.workers, cfg.control_socket_disable) == ([bind], 3, True)


def test_open_streams_end_before_gunicorn_loses_patience() -> None:
    cfg = ApiServer(ApiConfig()).cfg
    assert cfg.worker_class is ApiWorker
    assert cfg.graceful_timeout > ApiWorker.CONFIG_KWARGS["timeout_graceful_shutdown"]


@pytest.mark.parametrize(("name", "value"), [("CHUNK_SIZE", "1"), ("OBJECT_STORE_URL", "ftp://nowhere")])
def test_a_wrong_setting_is_one_line(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)

    assert main() == 2
    [line] = capsys.readouterr().err.splitlines()
    assert name in line
