"""What the chart installs, as files: one of rules, one for each dashboard."""

import json
from pathlib import Path

import yaml

from charts.monitoring.alerts import rule_groups
from charts.monitoring.dashboards.answers import ANSWERS
from charts.monitoring.dashboards.cost import COST
from charts.monitoring.dashboards.ingestion import INGESTION
from charts.monitoring.dashboards.overview import OVERVIEW
from charts.monitoring.dashboards.queues import QUEUES
from charts.monitoring.panels import dashboard_json
from charts.monitoring.promql import Clock
from charts.monitoring.rules import INTERVAL_SECONDS, rules_file

__all__ = ["DASHBOARDS", "FILES", "generated", "rules_text", "write"]

FILES = Path(__file__).parents[1] / "ragline" / "files"
DASHBOARDS = (OVERVIEW, INGESTION, ANSWERS, QUEUES, COST)
"""In the order in which an operator opens them."""


_HEAD = "# Written by `make monitoring` from charts/monitoring; a test fails when it is out of date.\n"


def rules_text(clock: Clock) -> str:
    """The rules file, in which time runs as fast as the clock says."""
    rules = rules_file(rule_groups(clock), clock.span(seconds=INTERVAL_SECONDS))
    return _HEAD + yaml.safe_dump(rules, sort_keys=False, width=120, allow_unicode=True)


def generated() -> dict[Path, str]:
    """The content of all files by their paths."""
    dashboards = {
        FILES / "dashboards" / f"{dashboard.name}.json": json.dumps(dashboard_json(dashboard), indent=1) + "\n"
        for dashboard in DASHBOARDS
    }
    return {FILES / "rules.yaml": rules_text(Clock()), **dashboards}


def write() -> None:
    """Write them all."""
    for path, text in generated().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
