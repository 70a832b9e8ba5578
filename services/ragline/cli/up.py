"""`ragline up`: the whole service on this computer."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from ragline.cli.supervisor.data_folder import RunningService, announce, locked, without_password
from ragline.cli.supervisor.plan import Extras, LaptopSettings, Plan, make_plan
from ragline.cli.supervisor.ports import check_ports
from ragline.cli.supervisor.supervisor import Supervisor
from ragline.common.config import ConfigError

__all__ = ["run_part", "serve"]


def run_part(settings: LaptopSettings, name: str) -> NoReturn:
    """Become one part of the service, with the addresses and folders that `serve` would give it.

    Raises
    ------
    ConfigError
        There is no such part.
    """
    # Only to be the observer itself: another part must not send its traces to one that may not run.
    plan = make_plan(settings, Extras(flower=True, observe=name == "observer"))
    chosen = next((part for part in plan.parts if part.name == name), None)
    if chosen is None:
        raise ConfigError(f"There is no part {name}; there are {', '.join(part.name for part in plan.parts)}")
    plan.make_folders()
    os.execve(chosen.argv[0], chosen.argv, {**os.environ, **chosen.env})  # noqa: S606 - arguments of ours


def serve(
    settings: LaptopSettings,
    *,
    console: Console,
    extras: Extras = Extras(),  # noqa: B008 - frozen
    show_logs: bool = True,
    on_ready: Callable[[Supervisor, str], None] = lambda *_: None,
) -> int:
    """Run the service until it is told to stop.

    Parameters
    ----------
    on_ready
        Called with the API's address once all parts are ready; must return soon, since nobody looks after the parts
        meanwhile.

    Returns
    -------
    int
        Exit status: 0 when told to stop, 1 when a part failed for good.

    Raises
    ------
    FolderInUse
        Another service runs on this folder.
    PortTaken
        A port cannot be used.
    """
    plan = make_plan(settings, extras)
    collector = settings.api.otel_exporter_otlp_endpoint
    with locked(plan.data_dir):
        check_ports(plan.ports)
        plan.make_folders()
        if extras.observe and collector:
            console.print(f"Traces go to {collector} (OTEL_EXPORTER_OTLP_ENDPOINT), so no observer is started")
        console.print(f"Starting {', '.join(part.name for part in plan.parts)}", soft_wrap=True)
        began = time.monotonic()

        def greet() -> None:
            console.print(_panel(plan, collector, time.monotonic() - began))
            on_ready(supervisor, plan.api_url)

        supervisor = Supervisor(
            parts=plan.parts, log_dir=plan.log_dir, console=console, on_ready=greet, show_logs=show_logs
        )
        with announce(plan.data_dir, _announcement(plan)):
            return supervisor.run()


def _announcement(plan: Plan) -> RunningService:
    return RunningService(
        pid=os.getpid(),
        api_url=plan.api_url,
        redis_url=without_password(plan.redis_url),
        chroma_url=plan.chroma_url,
        observer_url=plan.observer_url,
        started_at=datetime.now(UTC),
    )


def _panel(plan: Plan, collector: str, start_seconds: float) -> Panel:
    rows = Table.grid(padding=(0, 2))
    rows.add_row("API", plan.api_url)
    rows.add_row("API pages", f"{plan.api_url}/docs")
    if plan.flower_url:
        rows.add_row("Flower", plan.flower_url)
    if plan.observer_url:
        rows.add_row("Traces", plan.observer_url)
    elif collector:
        rows.add_row("Traces", f"sent to {collector}")
    rows.add_row("Logs", str(plan.log_dir))
    rows.add_row("Stop", "Ctrl-C")
    return Panel(rows, title=f"Ragline is ready after {start_seconds:.1f} s", expand=False)
