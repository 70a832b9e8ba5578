"""What `ragline up` says before and after its parts are started; the parts are not."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from ragline.cli import up
from ragline.cli.supervisor.data_folder import announced_service
from ragline.cli.supervisor.plan import Extras, load_settings
from tests.support.servers import free_port


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Extras], str]:
    """What the terminal shows with these extras."""
    monkeypatch.chdir(tmp_path)
    for name in ("API_PORT", "REDIS_PORT", "CHROMA_PORT", "OBSERVER_PORT"):
        monkeypatch.setenv(name, str(free_port()))

    class ReadyAtOnce:
        def __init__(self, *, on_ready: Callable[[], None], **_: object) -> None:
            self._on_ready = on_ready

        def run(self) -> int:
            self._on_ready()
            running = announced_service(tmp_path / "storage")
            print(running.observer_url if running else "not announced", file=output)
            return 0

    output = io.StringIO()
    monkeypatch.setattr(up, "Supervisor", ReadyAtOnce)

    def start(extras: Extras) -> str:
        assert up.serve(load_settings(), console=Console(file=output, width=150), extras=extras) == 0
        return output.getvalue()

    return start


def test_the_observers_address_is_shown_and_announced(said: Callable[[Extras], str]) -> None:
    text = said(Extras(observe=True))
    assert "Starting observer, valkey" in text
    assert "Traces     http://127.0.0.1:" in text
    assert text.splitlines()[-1].startswith("http://127.0.0.1:")


def test_without_it_no_traces_are_spoken_of(said: Callable[[Extras], str]) -> None:
    text = said(Extras())
    assert "Traces" not in text
    assert text.splitlines()[-1] == "None"


def test_a_collector_of_the_users_own_is_named(said: Callable[[Extras], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    text = said(Extras(observe=True))
    assert "Traces go to http://collector:4318 (OTEL_EXPORTER_OTLP_ENDPOINT), so no observer is started" in text
    assert "Traces     sent to http://collector:4318" in text
    assert "observer," not in text
