"""`ragline up` and `ragline demo` as a user runs them: every part is the real one."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ragline.cli.supervisor.data_folder import announced_service
from tests.support.laptop import Laptop, new_laptop
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SAMPLES = Path(__file__).parents[3] / "samples"
RESTART_SECONDS = 10.0
"""The promise on two idle cores; a machine that is busy with other tests gets twice as much."""


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A laptop on which the demo has run once."""
    laptop = new_laptop(tmp_path_factory.mktemp("laptop"))
    status, console = laptop.run("demo", "--exit", "--samples", str(SAMPLES))
    assert status == 0, console
    assert "employee-handbook.pdf, page 19" in console
    yield laptop
    for pid in laptop.processes():
        os.kill(pid, signal.SIGKILL)


def test_the_demo_leaves_nothing_behind(laptop: Laptop) -> None:
    assert laptop.processes() == []
    assert announced_service(laptop.folder / "storage") is None


def test_a_killed_service_leaves_no_process_and_comes_back_with_its_documents(laptop: Laptop) -> None:
    with laptop.started("up") as first:
        wait_until(lambda: "Ragline is ready" in laptop.said("up") or first.poll() is not None, timeout_seconds=60)
        # The supervisor, two stores, the API, four workers and the children of the prefork worker.
        assert len(laptop.processes()) >= 10, laptop.said("up")
        first.kill()
        wait_until(lambda: laptop.processes() == [], timeout_seconds=5)
    began = time.monotonic()
    with laptop.started("up", "--flower") as second:
        wait_until(lambda: "Flower" in laptop.said("up"), timeout_seconds=2 * RESTART_SECONDS)
        print(f"restart to ready: {time.monotonic() - began:.1f} s")  # noqa: T201 - a measurement for the log
        status, answer = laptop.run("ask", "-c", "samples", "How long is the warranty of the Halden V3?")
        assert (status, "[1] device-manual.pdf, page 11" in answer) == (0, True), answer
        status, report = laptop.run("verify", "samples")
        assert (status, "samples: consistent" in report) == (0, True), report
        status, report = laptop.run("ask", "-c", "samples", "Who won the chess tournament in Reykjavik in 1972?")
        assert (status, "no evidence" in report) == (4, True), report
        status, demo = laptop.run("demo", "--exit", "--samples", str(SAMPLES))
        assert (status, "Using the service that runs already" in demo) == (0, True), demo
        second.terminate()
        assert second.wait(40) == 0
    wait_until(lambda: laptop.processes() == [], timeout_seconds=5)
