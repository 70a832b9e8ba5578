"""What Grafana gets: panels in their places, each with a title, a sentence and a unit."""

from itertools import combinations
from typing import Any

import pytest

from charts.monitoring.build import DASHBOARDS
from charts.monitoring.panels import COLUMNS, Dashboard, dashboard_json

UNITS = {"bytes", "currencyUSD", "ops", "percentunit", "reqps", "s", "short"}

every_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.name)


def _cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    place = panel["gridPos"]
    columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
    return {(column, row) for column in columns for row in rows}


@every_dashboard
def test_panels_stand_side_by_side(dashboard: Dashboard) -> None:
    panels = dashboard_json(dashboard)["panels"]
    assert all(column < COLUMNS for panel in panels for column, _ in _cells(panel))
    assert [pair for pair in combinations(panels, 2) if _cells(pair[0]) & _cells(pair[1])] == []


@every_dashboard
def test_panels_are_told_apart_and_explained(dashboard: Dashboard) -> None:
    content = dashboard_json(dashboard)
    identifiers = [panel["id"] for panel in content["panels"]]
    titles = [panel.title for panel in dashboard.panels()]
    assert len({*identifiers}) == len(identifiers)
    assert len({*titles}) == len(titles)
    for panel in dashboard.panels():
        assert panel.description.endswith("."), panel.title
        assert panel.unit in UNITS
        assert panel.queries


@every_dashboard
def test_every_target_asks_the_chosen_source_for_the_chosen_namespaces(dashboard: Dashboard) -> None:
    for panel in dashboard_json(dashboard)["panels"]:
        for target in panel.get("targets", []):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            if "ragline_" in target["expr"]:
                assert 'namespace=~"$namespace"' in target["expr"]


def test_dashboards_lead_to_each_other() -> None:
    made = [dashboard_json(dashboard) for dashboard in DASHBOARDS]
    assert {tag for content in made for link in content["links"] for tag in link["tags"]} == {"ragline"}
    assert all(content["tags"] == ["ragline"] for content in made)
    assert len({content["uid"] for content in made}) == len(made)
