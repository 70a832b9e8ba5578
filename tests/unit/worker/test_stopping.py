"""When a worker that was told to stop puts back what still runs."""

import os
import signal
from threading import Event

import pytest

from ragline.worker.stopping import StopTimer


@pytest.fixture
def quits(monkeypatch: pytest.MonkeyPatch) -> tuple[list[tuple[int, int]], Event]:
    """Signals sent, and whether there was one."""
    sent: list[tuple[int, int]] = []
    seen = Event()

    def kill(process: int, number: int) -> None:
        sent.append((process, number))
        seen.set()

    monkeypatch.setattr(os, "kill", kill)
    return sent, seen


def test_quits_itself_once_however_often_it_is_told(quits: tuple[list[tuple[int, int]], Event]) -> None:
    sent, seen = quits
    timer = StopTimer(0.01)
    for _ in range(3):
        timer.shutting_down(how="Warm", sig="SIGTERM")
    assert seen.wait(5)
    timer.shutting_down(how="Warm", sig="SIGTERM")
    assert not Event().wait(0.05)
    assert sent == [(os.getpid(), signal.SIGQUIT)]


@pytest.mark.parametrize(("seconds", "ways"), [(0, ["Warm"]), (0.05, ["Cold"]), (0.05, ["Warm", "Cold", "Warm"])])
def test_no_quit_when_it_is_off_or_was_sent_by_another(
    seconds: float, ways: list[str], quits: tuple[list[tuple[int, int]], Event]
) -> None:
    """A second one would end the worker before it has put back what it holds."""
    _, seen = quits
    timer = StopTimer(seconds)
    for way in ways:
        timer.shutting_down(how=way, sig="any")
    assert not seen.wait(0.2)
