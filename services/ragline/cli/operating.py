"""The operator's commands: `top`, `explain-scale`, `trace` and `why`."""

import os
import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ragline.cli.exits import plain_failures, print_json
from ragline.cli.options import ApiUrl, AsJson, connect, local_service
from ragline.cli.queue_readings import QueueReading, read_queues
from ragline.cli.scaling.cluster import read_cluster
from ragline.cli.scaling.explaining import (
    Explanation,
    explain_cluster,
    explain_laptop,
    explain_ledger,
    explanation_json,
    print_explanation,
)
from ragline.cli.scaling.kubectl import ClusterUnreadable, Kubectl
from ragline.cli.top import top_view, watch
from ragline.cli.traces.finding import find_trace
from ragline.cli.traces.showing import print_trace, trace_as_json
from ragline.cli.watching import Watcher, view_json
from ragline.cli.why import account_for, account_json, print_account
from ragline.common.queues import Queue

__all__ = ["app"]

_PIPE_COLUMNS = 160
"""Width where there is no terminal and COLUMNS is not set, as in `kubectl exec` or a file: rich would take 80."""

_USUAL_NAMESPACE = "ragline"

app = typer.Typer()

_Id = Annotated[str, typer.Argument(metavar="ID", help="doc_... or job_...")]


@app.command()
def top(
    *,
    once: Annotated[bool, typer.Option("--once", help="Print one table after one interval, then end")] = False,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks")] = 2.0,
    as_json: AsJson = False,
    api_url: ApiUrl = None,
) -> None:
    """Watch the queues: what waits, who works, how fast, for how long; documents by state; errors. Ctrl-C ends it."""
    with plain_failures(), connect(api_url) as client:
        watcher = Watcher(client)
        if not (once or as_json):
            watch(watcher, Console(), interval_seconds=interval)
            return
        watcher.look()
        time.sleep(interval)
        view = watcher.look()
    if as_json:
        print_json(view_json(view))
    else:
        _console().print(top_view(view))


@app.command()
def explain_scale(
    queue: Annotated[Queue | None, typer.Argument(help="Default: all")] = None,
    *,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Of the release; default: this folder's `up`, else ragline")
    ] = None,
    release: Annotated[str, typer.Option(help="Name of the Helm release")] = "ragline",
    context: Annotated[str, typer.Option(help="Of kubectl; default: the one it is set to")] = "",
    as_json: AsJson = False,
    api_url: ApiUrl = None,
) -> None:
    """Say why a queue has the workers it has, and what happens next.

    In a cluster it reads KEDA's objects through kubectl; without them it explains what the ledger counts.
    """
    on_laptop = namespace is None and api_url is None and local_service() is not None
    with plain_failures(), connect(api_url) as client:
        readings = [reading for reading in read_queues(client).queues if queue is None or reading.name == queue]
    if on_laptop:
        explained, note = explain_laptop(readings), ""
    else:
        kubectl = Kubectl(namespace=namespace or _USUAL_NAMESPACE, context=context)
        explained, note = _explained(readings, kubectl, release)
    if as_json:
        print_json({"note": note, "queues": [explanation_json(explanation) for explanation in explained]})
        return
    console = _console()
    if note:
        console.print(Text(note, "yellow"), soft_wrap=True)
    for explanation in explained:
        print_explanation(explanation, console)


@app.command()
def trace(
    name: Annotated[str, typer.Argument(metavar="ID", help="job_..., doc_... or a trace id")],
    *,
    jaeger_url: Annotated[
        str | None, typer.Option(envvar="JAEGER_URL", help="Jaeger's query address; default: that of `up --observe`")
    ] = None,
    as_json: AsJson = False,
    api_url: ApiUrl = None,
) -> None:
    """Show where the time of a job went: waits, steps, attempts, calls.

    From Jaeger or `ragline up --observe`; without them, or when they do not have the trace, from the ledger's timings.
    """
    with plain_failures(), connect(api_url) as client:
        found = find_trace(name, client, jaeger_url=jaeger_url or _observer_url(api_url))
    if as_json:
        print_json(trace_as_json(found))
    else:
        print_trace(found, _console())


@app.command()
def why(name: _Id, *, as_json: AsJson = False, api_url: ApiUrl = None) -> None:
    """Say in one paragraph where a document or a job is, why it waits or failed, and what to run next."""
    with plain_failures(), connect(api_url) as client:
        account = account_for(name, client, now=datetime.now(UTC))
    if as_json:
        print_json(account_json(account))
    else:
        print_account(account, _console())


def _console() -> Console:
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=_PIPE_COLUMNS)


def _explained(readings: list[QueueReading], kubectl: Kubectl, release: str) -> tuple[list[Explanation], str]:
    try:
        cluster = read_cluster(kubectl, release=release, now=datetime.now(UTC))
    except ClusterUnreadable as failure:
        return explain_ledger(readings), f"{failure}; this is what the ledger counts."
    return explain_cluster(readings, cluster), ""


def _observer_url(api_url: str | None) -> str | None:
    running = local_service() if api_url is None else None
    return running.observer_url if running else None
