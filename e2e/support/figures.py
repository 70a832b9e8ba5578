"""Figures that the rows measure, and the page that keeps them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["Figure", "Figures", "write_results"]

_HEAD = """\
# Results of the end-to-end tests

`make e2e E2E_RESULTS=1` writes this page; a row that was not run again keeps its figure and date.

| row | what | figure | bound | date | cluster |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number, or the outcome of a row that did not come so far."""

    row: str
    what: str
    figure: str
    bound: str = ""

    def line(self) -> str:
        """For people who watch."""
        return f"({self.row}) {self.what}: {self.figure}" + (f", bound {self.bound}" if self.bound else "")


class Figures:
    """Takes the figures of one row, prints them and holds them against their bounds."""

    def __init__(self, row: str) -> None:
        self.row = row
        self.taken: list[Figure] = []

    def __call__(self, what: str, value: float, unit: str = "s", *, at_most: float | None = None) -> None:
        """Take a figure.

        Raises
        ------
        AssertionError
            It is above its bound.
        """
        bound = "" if at_most is None else f"{at_most:g} {unit}".strip()
        figure = Figure(row=self.row, what=what, figure=f"{round(value, 1):g} {unit}".strip(), bound=bound)
        self.taken.append(figure)
        print(f"\n{figure.line()}")
        assert at_most is None or value <= at_most, figure.line()


def write_results(path: Path, figures: Iterable[Figure], *, cluster: str) -> None:
    """Put the figures into the page, each in the place of its predecessor; a row's order is that of its figures."""
    new = list(figures)
    today = datetime.now(tz=UTC).date().isoformat()
    kept = [] if not path.exists() else [line for line in path.read_text(encoding="utf-8").splitlines() if line]
    rerun = {figure.row for figure in new}
    lines = [line for line in kept if line.startswith("| ") and _row(line) not in {*rerun, "row"}]
    lines += [f"| {x.row} | {x.what} | {x.figure} | {x.bound} | {today} | {cluster} |" for x in new]
    path.write_text(_HEAD + "\n".join(sorted(lines, key=_row)) + "\n", encoding="utf-8")


def _row(line: str) -> str:
    return line.split("|")[1].strip()
