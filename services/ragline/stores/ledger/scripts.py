"""The Lua scripts of the ledger: each changes records and queues in one atomic step.

Scripts and not Redis functions: every process brings the version it was built with, so two releases can run side by
side during a rolling upgrade.
"""

from functools import cache
from importlib.resources import files

from ragline.common.constants import (
    EMBED_JOB_RETENTION,
    EVENT_STREAM_MAX_EVENTS,
    INGEST_JOB_RETENTION,
    JOB_RETENTION,
    LEASE,
    MAX_CRASHES,
    TENANT_SHARE,
)
from ragline.common.metric_types import Kind, Source
from ragline.common.metrics import METRICS

__all__ = ["script_source"]


@cache
def script_source(name: str) -> str:
    """Text of one script with the shared prelude in front and the constants it needs."""
    constants = {
        "BUCKETS": _buckets(),
        "LEASE_MS": int(LEASE.total_seconds() * 1000),
        "MAX_EVENTS": EVENT_STREAM_MAX_EVENTS,
        "MAX_CRASHES": MAX_CRASHES,
        "TENANT_SHARE": TENANT_SHARE,
        "RETENTION_MS": int(JOB_RETENTION.total_seconds() * 1000),
        "EMBED_RETENTION_MS": int(EMBED_JOB_RETENTION.total_seconds() * 1000),
        "INGEST_RETENTION_MS": int(INGEST_JOB_RETENTION.total_seconds() * 1000),
    }
    head = "\n".join(f"local {key} = {value}" for key, value in constants.items())
    folder = files(__package__) / "lua"
    shared = ["prelude", "admission"] if name.startswith("accept_") else ["prelude"]
    return "\n".join([head, *((folder / f"{part}.lua").read_text() for part in (*shared, name))])


def _buckets() -> str:
    """Lua that makes a table of the bounds of those histograms that the scripts count; most runs need none of it."""
    counted = [metric for metric in METRICS if metric.kind is Kind.HISTOGRAM and metric.source is Source.LEDGER]
    tables = (f"{metric.key} = {{ {', '.join(map(str, metric.limits))} }}" for metric in counted)
    return f"function() return {{ {', '.join(tables)} }} end"
