"""What the sweeper says of an outage: its beginning, a new reason, its end."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import structlog

from ragline.api import sweeping
from ragline.api.sweeping import Sweeper
from ragline.common.errors import RagError, TransientError
from ragline.stores.ledger.sweeping import Swept

AWAY = TransientError("redis", "sweep", "ConnectionError", reason="Connection refused")
REFUSED = TransientError("redis", "sweep", "AuthenticationError", reason="WRONGPASS")


class Sweeps:
    """A ledger whose sweeps end as they are told."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self._outcomes = list(outcomes)

    async def sweep(self) -> Swept:
        outcome = self._outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return Swept()

    async def queue_cleaning(self, document_ids: Sequence[str]) -> None:
        pass


def _said(monkeypatch: pytest.MonkeyPatch, *outcomes: Exception | None) -> list[tuple[str, str]]:
    """What is logged of these sweeps: events and their reasons."""
    ledger: Any = Sweeps(*outcomes)
    sweeper = Sweeper(ledger)

    async def sweep_all() -> None:
        for _ in outcomes:
            await sweeper.sweep()

    with structlog.testing.capture_logs() as logged:
        # A logger that another test has used keeps the processors of its first use.
        monkeypatch.setattr(sweeping, "logger", structlog.get_logger())
        asyncio.run(sweep_all())
    return [(line["event"], line.get("reason", "")) for line in logged]


@pytest.mark.parametrize(
    ("outcomes", "lines"),
    [
        ([None, None], []),
        ([AWAY] * 5, [("sweep failed", "Connection refused")]),
        ([AWAY, REFUSED, REFUSED], [("sweep failed", "Connection refused"), ("sweep failed", "WRONGPASS")]),
        ([AWAY] * 61, [("sweep failed", "Connection refused")] * 2),
        (
            [AWAY, None, AWAY],
            [("sweep failed", "Connection refused"), ("sweeping again", ""), ("sweep failed", "Connection refused")],
        ),
    ],
    ids=["well", "once", "another-reason", "once-a-minute", "again"],
)
def test_an_outage_is_told_at_its_beginning_and_when_its_reason_changes(
    monkeypatch: pytest.MonkeyPatch, outcomes: list[RagError | None], lines: list[tuple[str, str]]
) -> None:
    assert _said(monkeypatch, *outcomes) == lines


def test_a_defect_does_not_end_the_sweeping(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _said(monkeypatch, ZeroDivisionError(), None) == [("sweep failed by a defect", "")]
