"""What an alert and a recording rule are, and how Prometheus wants them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["INTERVAL_SECONDS", "RUNBOOKS", "Alert", "Record", "Severity", "rules_file"]

INTERVAL_SECONDS = 30
"""Between two evaluations."""

RUNBOOKS = "docs/runbooks"
"""Where the pages are; the chart puts the address of a website in front."""

Severity = str
"""`critical` wakes somebody up: users are hurt now. `warning` is for the next morning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alerting rule.

    Attributes
    ----------
    wait
        How long the expression has to hold, as Prometheus writes it.
    summary
        One line; may name labels as `{{ $labels.queue }}` and the value as `{{ $value }}`.
    meaning
        What it means to the people who use the service.
    """

    name: str
    severity: Severity
    expr: str
    wait: str
    summary: str
    meaning: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def rule(self) -> dict[str, Any]:
        """As it stands in a rules file."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.wait,
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": self.meaning,
                "runbook_url": f"{RUNBOOKS}/{self.name}.md",
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One recording rule."""

    name: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def rule(self) -> dict[str, Any]:
        """As it stands in a rules file."""
        return {"record": self.name, "expr": self.expr, "labels": dict(self.labels)}


def rules_file(groups: Mapping[str, Sequence[Alert | Record]], interval: str) -> dict[str, Any]:
    """A rules file; rules of one group are evaluated one after another, so a record is there for the next rule."""
    return {
        "groups": [
            {"name": name, "interval": interval, "rules": [rule.rule() for rule in rules]}
            for name, rules in groups.items()
        ]
    }
