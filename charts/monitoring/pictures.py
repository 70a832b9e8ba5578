"""Draws each dashboard from a Prometheus, for the docs: its own panels, queries, units and legends.

Grafana looks better; it is in no package index.

make dashboard-pictures PROMETHEUS_URL=http://localhost:9090 MINUTES=15
"""

import json
import os
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FuncFormatter

__all__ = ["DASHBOARDS", "IMAGES", "Source", "draw", "main", "written"]

DASHBOARDS = Path(__file__).parents[1] / "ragline" / "files" / "dashboards"
IMAGES = Path(__file__).parents[2] / "docs" / "images"

COLUMN_INCHES, ROW_INCHES, DOTS_PER_INCH = 0.62, 0.42, 68
POINTS = 180
MOST_SERIES = 10
"""More lines than that nobody tells apart; Grafana shows them all."""

LARGE = 10
"""From here on digits after the point say nothing."""

SMALL = 0.01

NUMBERS_IN_A_ROW = 2

INK, GRID = "#3b4048", "#e4e7eb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the data come from, and which stretch of time is drawn."""

    url: str
    start: float
    end: float
    rate_window_seconds: int = 60

    def now(self, expr: str) -> list[dict[str, Any]]:
        """The series of an expression at the end, each with one `value`."""
        return self._get("query", query=self._filled(expr), time=self.end)

    def range(self, expr: str) -> list[dict[str, Any]]:
        """The series of an expression over time, each with `values`."""
        step = max(1, round((self.end - self.start) / POINTS))
        return self._get("query_range", query=self._filled(expr), start=self.start, end=self.end, step=step)

    def _filled(self, expr: str) -> str:
        """What Grafana does with its variables."""
        return expr.replace("$__rate_interval", f"{self.rate_window_seconds}s").replace("$namespace", ".*")

    def _get(self, path: str, **parameters: object) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as reply:  # noqa: S310
            result: list[dict[str, Any]] = json.load(reply)["data"]["result"]
        return result


def main() -> None:
    """Draw all dashboards of the Prometheus at PROMETHEUS_URL, over the last MINUTES."""
    end = time.time()
    start = end - 60 * float(os.environ.get("MINUTES", "15"))
    source = Source(url=os.environ.get("PROMETHEUS_URL", "http://localhost:9090"), start=start, end=end)
    IMAGES.mkdir(exist_ok=True)
    for path in sorted(DASHBOARDS.glob("*.json")):
        draw(json.loads(path.read_text(encoding="utf-8")), source, IMAGES / f"dashboard-{path.stem}.png")


def draw(dashboard: dict[str, Any], source: Source, target: Path) -> None:
    """Draw one dashboard, as it is in its JSON, into a file."""
    mpl.rcParams.update({"font.size": 8, "text.color": INK, "axes.edgecolor": GRID, "svg.hashsalt": "ragline"})
    panels = dashboard["panels"]
    wide = max(panel["gridPos"]["x"] + panel["gridPos"]["w"] for panel in panels)
    high = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = plt.figure(figsize=(wide * COLUMN_INCHES, (high + 2) * ROW_INCHES), dpi=DOTS_PER_INCH, facecolor="white")
    figure.text(0.012, 1 - 0.6 / (high + 2), dashboard["title"], fontsize=13, weight="bold", va="center")
    for panel in panels:
        place = panel["gridPos"]
        bottom = 1 - (place["y"] + place["h"] + 1.2) / (high + 2)
        box = (place["x"] / wide, bottom, place["w"] / wide, place["h"] / (high + 2))
        if panel["type"] == "row":
            figure.text(box[0] + 0.012, bottom + box[3] / 2, panel["title"], fontsize=10, weight="bold", va="center")
        else:
            _draw_panel(figure, panel, source, box)
    figure.savefig(target)
    plt.close(figure)


def _draw_panel(figure: Any, panel: dict[str, Any], source: Source, box: tuple[float, ...]) -> None:  # noqa: ANN401
    left, bottom, width, height = box
    inner = (left + 0.035, bottom + height * 0.24, width - 0.047, height * 0.62)
    axes = figure.add_axes(inner)
    axes.set_title(panel["title"], fontsize=9, loc="left", color=INK)
    unit = written(panel["fieldConfig"]["defaults"]["unit"])
    if panel["type"] == "stat":
        _draw_numbers(axes, panel, source, unit)
    else:
        _draw_lines(axes, panel, source, unit)


def _draw_numbers(axes: Any, panel: dict[str, Any], source: Source, unit: Callable[[float], str]) -> None:  # noqa: ANN401
    axes.axis("off")
    found = [
        (_legend(target["legendFormat"], series["metric"]), float(series["value"][1]))
        for target in panel["targets"]
        for series in source.now(target["expr"])
    ]
    for place, (legend, value) in enumerate(sorted(found)[:4]):
        left = 0.02 if len(found) == 1 else 0.02 + 0.5 * (place % NUMBERS_IN_A_ROW)
        top = 0.5 if len(found) <= NUMBERS_IN_A_ROW else 0.75 - 0.5 * (place // NUMBERS_IN_A_ROW)
        axes.text(left, top, unit(value), fontsize=17, va="center", transform=axes.transAxes)
        if len(found) > 1:
            axes.text(left, top - 0.17, legend, fontsize=7, va="center", transform=axes.transAxes)


def _draw_lines(axes: Any, panel: dict[str, Any], source: Source, unit: Callable[[float], str]) -> None:  # noqa: ANN401
    lines = sorted(_lines(panel, source), key=lambda line: -max(line[2]))[:MOST_SERIES]
    stacked = "stacking" in panel["fieldConfig"]["defaults"]["custom"]
    colours = plt.get_cmap("tab10").colors
    if stacked and lines:
        _stack(axes, lines, colours)
    else:
        for place, (legend, times, values) in enumerate(lines):
            axes.plot(times, values, color=colours[place % 10], linewidth=1.2, label=legend)
    axes.set_xlim(datetime.fromtimestamp(source.start, UTC), datetime.fromtimestamp(source.end, UTC))
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: unit(value)))
    locator = AutoDateLocator(maxticks=5)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=7)
    if lines:
        axes.legend(
            loc="upper left", bbox_to_anchor=(-0.02, -0.12), ncols=3, fontsize=6.5, frameon=False, borderaxespad=0,
            handlelength=1, columnspacing=1,
        )  # fmt: skip
    else:
        axes.text(0.5, 0.5, "nothing of this yet", ha="center", va="center", transform=axes.transAxes, color="#9aa1ab")


def _stack(axes: Any, lines: list[tuple[str, list[datetime], list[float]]], colours: Any) -> None:  # noqa: ANN401
    times = sorted({moment for _, moments, _ in lines for moment in moments})
    table = [dict(zip(moments, values, strict=True)) for _, moments, values in lines]
    rows = [[row.get(moment, 0.0) for moment in times] for row in table]
    axes.stackplot(times, rows, labels=[legend for legend, _, _ in lines], colors=colours, alpha=0.75)


def _lines(panel: dict[str, Any], source: Source) -> Iterator[tuple[str, list[datetime], list[float]]]:
    for target in panel["targets"]:
        for series in source.range(target["expr"]):
            points = [
                (float(moment), float(value)) for moment, value in series["values"] if value not in ("NaN", "+Inf")
            ]
            if any(value for _, value in points):
                moments = [datetime.fromtimestamp(moment, UTC) for moment, _ in points]
                yield _legend(target["legendFormat"], series["metric"]), moments, [value for _, value in points]


def _legend(pattern: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), pattern)


def written(unit: str) -> Callable[[float], str]:
    """How values of one of Grafana's units are written."""
    return _UNITS.get(unit, _number)


def _number(value: float) -> str:
    if abs(value) >= LARGE or value == round(value):
        return f"{value:,.0f}"
    return f"{value:.2g}" if abs(value) >= SMALL else f"{value:.1g}"


_UNITS: dict[str, Callable[[float], str]] = {
    "bytes": lambda value: f"{value / 2**20:.3g} MiB",
    "currencyUSD": lambda value: f"${_number(value)}" if abs(value) >= SMALL or not value else "< 1 ct",
    "ops": lambda value: f"{_number(value)}/s",
    "percentunit": lambda value: f"{value * 100:.4g} %",
    "reqps": lambda value: f"{_number(value)} req/s",
    "s": lambda value: f"{value * 1000:.3g} ms" if 0 < value < 1 else f"{value:.3g} s",
}


if __name__ == "__main__":
    main()
