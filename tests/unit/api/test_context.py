import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from ragline.api import context
from ragline.api.context import ApiContext
from ragline.common.config import ApiConfig
from ragline.common.errors import RagError, TransientError
from ragline.stores.ledger.sweeping import Swept

AWAY = TransientError("redis", "sweep", "ConnectionError", reason="Connection refused")
REFUSED = TransientError("redis", "sweep", "AuthenticationError", reason="WRONGPASS")


class Sweeps:
    """A ledger whose sweeps end as they are told, and then wait for ever."""

    def __init__(self, *outcomes: RagError | None) -> None:
        self.ended = asyncio.Event()
        self._outcomes = list(outcomes)

    async def sweep(self) -> Swept:
        if not self._outcomes:
            self.ended.set()
            await asyncio.Event().wait()
        outcome = self._outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return Swept()

    async def queue_cleaning(self) -> None:
        pass


async def _swept(folder: Path, *outcomes: RagError | None) -> list[tuple[str, str]]:
    """What the sweeper logs: events and their reasons."""
    api = ApiContext(ApiConfig(object_store_url=folder.as_uri()))
    sweeps: Any = Sweeps(*outcomes)
    api.ledger = sweeps
    with structlog.testing.capture_logs() as logged:
        task = asyncio.create_task(api._sweep_for_ever())
        await asyncio.wait_for(sweeps.ended.wait(), timeout=10)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await api.close()
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcomes: list[RagError | None], lines: list[tuple[str, str]]
) -> None:
    monkeypatch.setattr(context, "SWEEP_INTERVAL", timedelta())

    assert asyncio.run(_swept(tmp_path, *outcomes)) == lines
