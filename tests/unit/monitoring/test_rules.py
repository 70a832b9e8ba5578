"""The rules are those that the code makes, each alert has a page, and promtool's tests know every one of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts.monitoring.alerts import every_alert, rule_groups
from charts.monitoring.build import FILES, generated, rules_text
from charts.monitoring.objectives import FAULTS
from charts.monitoring.promql import Clock, grown, scoped
from ragline.common import errors

CASES = Path(__file__).with_name("rules.test.yaml")

Firing = tuple[str, str]
"""Name and severity of an alert."""


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.name)
def test_files_are_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generated()[path], "Run `make monitoring` and review the diff."


def test_no_file_is_left_over() -> None:
    found = {path for path in FILES.rglob("*") if path.suffix in {".json", ".yaml"}}
    assert found == set(generated())


def test_each_alert_fires_and_is_silent_in_promtools_tests() -> None:
    """Not whether they pass: `make lint-alerts` says that."""
    cases = yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"]
    fired = {firing for case in cases if _silent(case) for firing in _fired(case)}
    assert fired == {(alert.name, alert.severity) for alerts in every_alert().values() for alert in alerts}


def _fired(case: dict[str, Any]) -> Iterator[Firing]:
    for expected in case["promql_expr_test"]:
        for sample in expected["exp_samples"]:
            labels = dict(pair.split("=") for pair in sample["labels"].strip("{}").replace('"', "").split(", "))
            yield labels["alertname"], labels["severity"]


def _silent(case: dict[str, Any]) -> bool:
    return any(not expected["exp_samples"] for expected in case["promql_expr_test"])


def test_what_wakes_somebody_up_waits_before_it_does() -> None:
    alerts = [alert for alerts in every_alert().values() for alert in alerts if alert.severity == "critical"]
    assert alerts
    assert [alert.name for alert in alerts if alert.wait == "0s"] == []


def test_faults_are_the_codes_that_a_job_ends_with_and_that_alert() -> None:
    leaves = [
        found for found in vars(errors).values() if isinstance(found, type) and issubclass(found, errors.RagError)
    ]
    codes = {leaf.code for leaf in leaves if leaf.alert}
    # This one refuses a request before there is a job.
    assert set(FAULTS) == codes - {"overloaded"}


@pytest.mark.parametrize(
    ("length", "speed", "expected"),
    [
        ({"hours": 6}, 1, "6h"),
        ({"minutes": 90}, 1, "90m"),
        ({"hours": 6}, 60, "6m"),
        ({"minutes": 5}, 60, "5s"),
        ({"seconds": 30}, 60, "500ms"),
        ({}, 1, "0s"),
    ],
)
def test_lengths_of_time(length: dict[str, float], speed: int, expected: str) -> None:
    assert Clock(speed=speed).span(**length) == expected


def test_time_runs_faster_in_every_rule() -> None:
    slow, fast = yaml.safe_load(rules_text(Clock())), yaml.safe_load(rules_text(Clock(speed=60)))
    for before, after in zip(slow["groups"], fast["groups"], strict=True):
        assert (before["interval"], after["interval"]) == ("30s", "500ms")
        for old, new in zip(before["rules"], after["rules"], strict=True):
            assert old.get("alert") == new.get("alert")
            if "[" in old["expr"] or " offset " in old["expr"]:
                assert old["expr"] != new["expr"]


def test_every_group_has_rules() -> None:
    assert all(rule_groups(Clock()).values())


def test_panels_look_at_the_chosen_namespaces() -> None:
    here = 'namespace=~"$namespace"'
    assert scoped("max(ragline_ledger_up)") == f"max(ragline_ledger_up{{{here}}})"
    assert scoped('ragline:x:rate5m{slo="a"}') == f'ragline:x:rate5m{{{here}, slo="a"}}'
    assert scoped("keda_scaler_metrics_value") == "keda_scaler_metrics_value"


def test_events_are_counted_from_what_all_processes_agree_on() -> None:
    assert grown("x", "5m").startswith("(max without (instance, pod) (x) - (max without (instance, pod) (x offset 5m)")
