"""What was measured, taken out."""

from collections import Counter

from ragline.common.measurements import Measurements

__all__ = ["taken"]


def taken(measurements: Measurements) -> dict[str, int]:
    """What was measured and not yet added, by field; also what another writer has left unconfirmed."""
    amounts: Counter[str] = Counter()
    while (batch := measurements.batch()) is not None:
        amounts.update(batch.amounts)
        measurements.confirm(batch)
    return dict(amounts)
