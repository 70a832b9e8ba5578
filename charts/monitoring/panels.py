"""Panels and dashboards in few words, and the JSON that Grafana wants."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from charts.monitoring.promql import scoped

__all__ = ["COLUMNS", "WINDOW", "Dashboard", "Panel", "Row", "dashboard_json"]

WINDOW = "$__rate_interval"
"""What Grafana makes as long as the distance of two points, but never shorter than four scrapes."""

COLUMNS = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
SCHEMA_VERSION = 39


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel.

    Attributes
    ----------
    queries
        Pairs of an expression and its legend, in which `{{queue}}` stands for a label.
    unit
        Grafana's name of the unit: `s`, `reqps`, `percentunit`, `bytes`, `short`, `currencyUSD`.
    kind
        `timeseries` over time, `stat` for one number of now.
    width
        Of 24 columns.
    """

    title: str
    queries: Sequence[tuple[str, str]]
    description: str
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 7
    stacked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """One dashboard."""

    name: str
    title: str
    description: str
    rows: Sequence[Row] = field(default_factory=tuple)

    def panels(self) -> Iterator[Panel]:
        """All of them, in their order."""
        for row in self.rows:
            yield from row.panels


def dashboard_json(dashboard: Dashboard) -> dict[str, Any]:
    """What Grafana imports."""
    return {
        "uid": f"ragline-{dashboard.name}",
        "title": f"Ragline / {dashboard.title}",
        "description": dashboard.description,
        "tags": ["ragline"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "links": [
            {"type": "dashboards", "title": "Ragline", "tags": ["ragline"], "asDropdown": True, "keepTime": True}
        ],
        "templating": {"list": _variables()},
        "panels": list(_placed(dashboard)),
    }


def _variables() -> list[dict[str, Any]]:
    datasource = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    namespace = {
        "name": "namespace",
        "label": "Namespace",
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": "label_values(ragline_ledger_up, namespace)", "refId": "namespace"},
        "definition": "label_values(ragline_ledger_up, namespace)",
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        # Series without the label are shown too: not everybody runs this on a cluster.
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }
    return [datasource, namespace]


def _placed(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    """Rows and panels from left to right and from top to bottom."""
    top = number = 0
    for row in dashboard.rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
        }
        top, left, tallest = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            number += 1
            yield {
                "id": number,
                "gridPos": {"x": left, "y": top, "w": panel.width, "h": panel.height},
                **_panel_json(panel),
            }
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


def _panel_json(panel: Panel) -> dict[str, Any]:
    targets = [
        {
            "refId": chr(ord("A") + place),
            "datasource": DATASOURCE,
            "expr": scoped(expr),
            "legendFormat": legend,
            **({"instant": True, "range": False} if panel.kind == "stat" else {}),
        }
        for place, (expr, legend) in enumerate(panel.queries)
    ]
    options: dict[str, Any]
    custom: dict[str, Any] = {}
    if panel.kind == "stat":
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none", "graphMode": "none"}
    else:
        options = {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
        custom = {"fillOpacity": 30 if panel.stacked else 8, "showPoints": "never"}
        custom |= {"stacking": {"mode": "normal"}} if panel.stacked else {}
    defaults = {"unit": panel.unit, "min": 0, "custom": custom} if custom else {"unit": panel.unit}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": targets,
    }
