"""What was measured, taken out."""

from ragline.common.measurements import Measurements

__all__ = ["taken"]


def taken(measurements: Measurements) -> dict[str, int]:
    """What was measured since the last time, by field, as one writer adds it."""
    batch = measurements.batch()
    if batch is None:
        return {}
    measurements.confirm(batch)
    return dict(batch.amounts)
