"""The supervisor with real processes."""

import os
import signal
from pathlib import Path

from ragline.cli.supervisor.parts import StopOrder
from tests.support.supervise import DUTIFUL, StandIn, SupervisorProcess, alive
from tests.support.waiting import wait_until

STUBBORN = f"import signal; signal.signal(signal.SIGQUIT, signal.SIG_IGN)\n{DUTIFUL}".replace(
    "sys.exit(0)", 'print("no", flush=True)'
)
"""Notes SIGTERM, ignores it and everything else that can be ignored."""

FAILING = "import sys; print('no such setting', flush=True); sys.exit(3)"

WITH_CHILD = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("grandchild.pids", "w").write(str(child.pid))
{DUTIFUL}
"""


def test_parts_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    with SupervisorProcess(tmp_path, [StandIn(name="a"), StandIn(name="b", code=STUBBORN)]) as supervisor:
        supervisor.wait_ready()
        pids = supervisor.pids("a") + supervisor.pids("b")
        assert all(alive(pid) for pid in pids)
        supervisor.popen.kill()
        wait_until(lambda: not any(alive(pid) for pid in pids), timeout_seconds=5)
    assert not (tmp_path / "stopped").exists()


def test_parts_start_after_what_they_need(tmp_path: Path) -> None:
    late = 'assert pathlib.Path("store.ready").exists(), "too early"'
    worker = DUTIFUL.replace("name = sys.argv[1]", f"name = sys.argv[1]\n{late}")
    parts = [StandIn(name="worker", code=worker, needs=("store",)), StandIn(name="store")]
    with SupervisorProcess(tmp_path, parts) as supervisor:
        supervisor.wait_ready()
        assert "too early" not in supervisor.output


def test_parts_stop_in_order_the_broker_last(tmp_path: Path) -> None:
    parts = [
        StandIn(name="broker", stop_order=StopOrder.BROKER),
        StandIn(name="vectors", stop_order=StopOrder.VECTORS),
        StandIn(name="worker"),
    ]
    with SupervisorProcess(tmp_path, parts) as supervisor:
        supervisor.wait_ready()
        supervisor.popen.send_signal(signal.SIGINT)
        assert supervisor.popen.wait(10) == 0
    assert (tmp_path / "stopped").read_text().split() == ["worker", "vectors", "broker"]


def test_a_part_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    signals = (signal.SIGTERM, signal.SIGQUIT)
    parts = [
        StandIn(name="stubborn", code=STUBBORN, stop_signals=signals),
        StandIn(name="broker", stop_order=StopOrder.BROKER),
    ]
    with SupervisorProcess(tmp_path, parts, stop=0.3, stop_hard=0.3) as supervisor:
        supervisor.wait_ready()
        supervisor.popen.terminate()
        assert supervisor.popen.wait(10) == 0
        assert not alive(supervisor.pids("stubborn")[0])
    assert (tmp_path / "stopped").read_text().split() == ["stubborn", "broker"]


def test_a_second_interrupt_does_not_wait(tmp_path: Path) -> None:
    parts = [StandIn(name="stubborn", code=STUBBORN), StandIn(name="broker", stop_order=StopOrder.BROKER)]
    with SupervisorProcess(tmp_path, parts, stop=300, stop_hard=300) as supervisor:
        supervisor.wait_ready()
        supervisor.popen.send_signal(signal.SIGINT)
        wait_until((tmp_path / "stopped").exists, timeout_seconds=5)
        supervisor.popen.send_signal(signal.SIGINT)
        assert supervisor.popen.wait(10) == 0
    assert (tmp_path / "stopped").read_text().split() == ["stubborn", "broker"]


def test_a_part_that_dies_is_started_again(tmp_path: Path) -> None:
    with SupervisorProcess(tmp_path, [StandIn(name="a"), StandIn(name="b")]) as supervisor:
        supervisor.wait_ready()
        os.kill(supervisor.pids("a")[0], signal.SIGKILL)
        wait_until(lambda: len(supervisor.pids("a")) == 2, timeout_seconds=5)
        assert len(supervisor.pids("b")) == 1
        wait_until(lambda: "a died (signal SIGKILL); next start in 0.01 s" in supervisor.output, timeout_seconds=5)


def test_what_a_dead_part_left_behind_is_killed(tmp_path: Path) -> None:
    with SupervisorProcess(tmp_path, [StandIn(name="a", code=WITH_CHILD)]) as supervisor:
        supervisor.wait_ready()
        grandchild = supervisor.pids("grandchild")[0]
        os.kill(supervisor.pids("a")[0], signal.SIGKILL)
        wait_until(lambda: not alive(grandchild), timeout_seconds=5)


def test_gives_up_on_a_part_that_dies_again_and_again(tmp_path: Path) -> None:
    parts = [StandIn(name="good"), StandIn(name="bad", code=FAILING)]
    with SupervisorProcess(tmp_path, parts) as supervisor:
        assert supervisor.popen.wait(20) == 1
        assert "bad died (exit status 3); next start in 0.08 s" in supervisor.output
        assert "bad died 5 times in a row (exit status 3); giving up" in supervisor.output
        said = supervisor.output.partition("Last lines of bad")[2]
        assert "no such setting" in said
        assert (tmp_path / "stopped").read_text().split() == ["good"]


def test_says_which_part_is_missing(tmp_path: Path) -> None:
    asleep = "import time; print('thinking', flush=True); time.sleep(600)"
    with SupervisorProcess(tmp_path, [StandIn(name="a"), StandIn(name="slow", code=asleep)], start=1.5) as supervisor:
        assert supervisor.popen.wait(20) == 1
        assert "Not ready after 1.5 s: slow; giving up" in supervisor.output
        assert "thinking" in supervisor.output.partition("Last lines of slow")[2]


def test_an_interrupt_during_the_start_stops_it(tmp_path: Path) -> None:
    asleep = "import pathlib, time; pathlib.Path('begun').touch(); time.sleep(600)"
    with SupervisorProcess(tmp_path, [StandIn(name="slow", code=asleep)], start=300) as supervisor:
        wait_until((tmp_path / "begun").exists, timeout_seconds=10)
        supervisor.popen.send_signal(signal.SIGINT)
        assert supervisor.popen.wait(10) == 0


def test_lines_are_shown_with_the_name_of_their_part_and_kept(tmp_path: Path) -> None:
    with SupervisorProcess(tmp_path, [StandIn(name="api"), StandIn(name="worker-rag")]) as supervisor:
        supervisor.wait_ready()
        supervisor.popen.terminate()
        assert supervisor.popen.wait(10) == 0
        lines = supervisor.output.splitlines()
    assert {"api        │ hello", "api        │ bye", "worker-rag │ hello", "worker-rag │ bye"} <= set(lines)
    assert (tmp_path / "logs" / "worker-rag.log").read_text() == "hello\nbye\n"


def test_a_closed_terminal_stops_the_parts_in_order(tmp_path: Path) -> None:
    master, terminal = os.openpty()
    parts = [StandIn(name="worker"), StandIn(name="broker", stop_order=StopOrder.BROKER)]
    with SupervisorProcess(tmp_path, parts, terminal=terminal) as supervisor:
        os.close(terminal)
        wait_until(lambda: bool(supervisor.pids("worker") and supervisor.pids("broker")), timeout_seconds=10)
        os.close(master)
        supervisor.popen.send_signal(signal.SIGHUP)
        assert supervisor.popen.wait(10) == 0
    assert (tmp_path / "stopped").read_text().split() == ["worker", "broker"]
