"""What a benchmark says: a table, a verdict for each target, and the page that keeps both."""

import argparse
import os
import platform
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["Report", "Run", "main"]

RESULTS = Path(__file__).resolve().parents[1] / "RESULTS.md"

_HEAD = """\
# Results of the benchmarks

`make bench WRITE=1` writes this page; a benchmark that was not run again keeps its section. Every target is a ratio or
a difference within one run, from rounds that take turns: figures of two runs, or of two machines, cannot be compared.
The loads are the machine's load averages (one minute) before and after; where they are above the number of its cores,
others were at work too, and a benchmark that began so says it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a benchmark is to run.

    Attributes
    ----------
    quick
        Once, for a few seconds, to see that it works; its figures mean nothing.
    folder
        For what it keeps, gone afterwards.
    """

    quick: bool
    folder: Path

    def rounds(self, usual: int) -> int:
        """How many rounds."""
        return 1 if self.quick else usual

    def seconds(self, usual: float) -> float:
        """How long a round takes."""
        return min(usual, 0.3) if self.quick else usual


class Report:
    """Collects what a benchmark finds out.

    Parameters
    ----------
    columns
        Of its table.
    """

    def __init__(self, *columns: str) -> None:
        self._columns = columns
        self._rows: list[Sequence[str]] = []
        self._notes: list[str] = []
        self._verdicts: list[str] = []
        self.missed = 0

    def note(self, text: str) -> None:
        """A sentence below the table."""
        self._notes.append(text)

    def row(self, *cells: object) -> None:
        """A line of the table."""
        self._rows.append([f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells])
        assert len(cells) == len(self._columns)

    def target(
        self, what: str, value: float, *, at_least: float | None = None, at_most: float | None = None, unit: str = ""
    ) -> None:
        """Hold a figure against its bound."""
        met = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
        bound = f"at least {at_least:g}" if at_least is not None else f"at most {at_most:g}"
        self.missed += not met
        self._verdicts.append(f"{'met' if met else 'MISSED'}: {what}: {value:.3g}{unit}, {bound}{unit} wanted")

    def text(self) -> str:
        """All of it, as Markdown."""
        table = [f"| {' | '.join(row)} |" for row in (self._columns, ["---"] * len(self._columns), *self._rows)]
        lines = ["\n".join(table), *self._notes, "\n".join(f"- {verdict}" for verdict in self._verdicts)]
        return "\n\n".join(filter(None, lines)) + "\n"


def main(benchmark: Callable[[Run], Report], *, title: str) -> None:
    """Run a benchmark from the command line; ends with status 1 when a target was missed."""
    name = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(prog=name, description=title)
    parser.add_argument(
        "--quick", action="store_true", help="a few seconds, to see that it works; misses are no failure"
    )
    parser.add_argument("--write", action="store_true", help="put the outcome into RESULTS.md")
    chosen = parser.parse_args()
    # So that the parts are stopped as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    load = os.getloadavg()[0]
    # What runs here adds to the load afterwards, so only the one before tells of others.
    busy = " **Others used the cores: these figures say little.**" if load > (os.cpu_count() or 1) else ""
    with tempfile.TemporaryDirectory(prefix="ragline-bench-") as folder:
        report = benchmark(Run(quick=chosen.quick, folder=Path(folder)))
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    loads = f"load {load:.1f} before, {os.getloadavg()[0]:.1f} after"
    section = f"## {name}: {title}\n\n{datetime.now(tz=UTC).date()}, {machine}, {loads}.{busy}\n\n{report.text()}"
    print(section)
    if chosen.write:
        _keep(name, section)
    sys.exit(1 if report.missed and not chosen.quick else 0)


def _keep(name: str, section: str) -> None:
    page = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    sections = {found.split(":")[0]: f"## {found}" for found in re.split(r"^## ", page, flags=re.MULTILINE)[1:]}
    sections[name] = section
    ordered = (text.strip() for _, text in sorted(sections.items()))
    RESULTS.write_text("\n\n".join([_HEAD.strip(), *ordered]) + "\n", encoding="utf-8")
