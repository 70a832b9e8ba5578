"""`ragline top` on the terminal: one table of the queues, or a view that is drawn anew."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from ragline.cli.failures import ApiFailure, ApiUnreachable
from ragline.cli.watching import QueueView, TopView, Watcher
from ragline.cli.wording import lasting

__all__ = ["top_view", "watch"]

_MOST_ERRORS = 12
_UNKNOWN = "?"


def top_view(view: TopView) -> RenderableType:
    """Everything, one under the other."""
    parts: list[RenderableType] = [Text(gap, "bold yellow") for gap in view.gaps]
    parts += [_queue_table(view), _documents_line(view), _error_table(view)]
    return Group(*parts)


def watch(
    watcher: Watcher, console: Console, *, interval_seconds: float, pause: Callable[[float], None] = time.sleep
) -> None:
    """Draw until Ctrl-C, which leaves the terminal as it was. It says so when the API is away."""
    last: RenderableType = Text("")
    heard = datetime.now(UTC)
    with Live(console=console, screen=console.is_terminal, auto_refresh=False, transient=True) as live:
        try:
            while True:
                try:
                    last, heard, trouble = top_view(watcher.look()), datetime.now(UTC), ""
                except (ApiFailure, ApiUnreachable) as failure:
                    trouble = f"{failure} What stands below is of {heard:%H:%M:%S} UTC."
                live.update(_screen(last, trouble), refresh=True)
                pause(interval_seconds)
        except KeyboardInterrupt:
            return


def _screen(last: RenderableType, trouble: str) -> RenderableType:
    now = f"ragline top, {datetime.now(UTC):%H:%M:%S} UTC; Ctrl-C ends it"
    head = Text(trouble, "bold red") if trouble else Text(now, "dim")
    return Group(head, last)


def _queue_table(view: TopView) -> Table:
    numbers = ("waiting", "held", "in flight", "oldest", "in/s", "out/s", "wait p50", "wait p95")
    table = Table("queue", *(Column(name, justify="right") for name in numbers), Column("workers", overflow="fold"))
    for queue in view.queues:
        table.add_row(*_queue_row(queue))
    window = "since they are counted" if not view.rate_seconds else f"of the last {view.rate_seconds:.0f} s"
    table.caption = f"rates and waits {window}; a wait is from the queue to a worker's claim"
    return table


def _queue_row(queue: QueueView) -> tuple[Text, ...]:
    alarmed = queue.waiting and not queue.workers
    workers = ", ".join(queue.workers) or ("none" if not alarmed else "none: nobody takes what waits")
    return (
        Text(queue.name, "bold cyan"),
        Text(str(queue.waiting), "yellow" if queue.waiting else ""),
        Text(_UNKNOWN if queue.held is None else str(queue.held)),
        Text(str(queue.in_flight)),
        Text(_seconds(queue.oldest_seconds)),
        Text(_rate(queue.in_per_second)),
        Text(_rate(queue.out_per_second)),
        Text(_seconds(queue.wait_p50_seconds, none="-")),
        Text(_seconds(queue.wait_p95_seconds, none="-")),
        Text(workers, "bold red" if alarmed else "green" if queue.workers else "dim"),
    )


def _documents_line(view: TopView) -> Text:
    if view.documents is None:
        return Text(f"documents: {_UNKNOWN}")
    states = sorted(view.documents.items())
    return Text("documents: " + (", ".join(f"{count} {state}" for state, count in states if count) or "none"))


def _error_table(view: TopView) -> RenderableType:
    if view.errors is None:
        return Text(f"errors: {_UNKNOWN}")
    if not view.errors:
        return Text("errors: none", "green")
    lately = f"last {view.error_seconds:.0f} s"
    table = Table("errors", Column(lately, justify="right"), Column("in all", justify="right"))
    for error in view.errors[:_MOST_ERRORS]:
        table.add_row(Text(error.what), Text(str(error.lately), "bold red" if error.lately else ""), str(error.ever))
    if len(view.errors) > _MOST_ERRORS:
        table.caption = f"and {len(view.errors) - _MOST_ERRORS} kinds more"
    return table


def _rate(per_second: float | None) -> str:
    return _UNKNOWN if per_second is None else f"{per_second:.2f}"


def _seconds(seconds: float | None, *, none: str = _UNKNOWN) -> str:
    return none if seconds is None else lasting(seconds)
