"""The Lua scripts of the ledger: each changes records and queues in one atomic step.

Scripts and not Redis functions: every process brings the version it was built with, so two releases can run side by
side during a rolling upgrade.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from importlib.resources import files

from redis.exceptions import (
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ragline.common.calls import called
from ragline.common.constants import (
    CENSUS_KEYS,
    EMBED_JOB_RETENTION,
    EVENT_STREAM_MAX_EVENTS,
    INGEST_JOB_RETENTION,
    JOB_RETENTION,
    MAX_CRASHES,
    TENANT_SHARE,
)
from ragline.common.errors import DependencyError, ProtocolError, TransientError
from ragline.common.metric_types import Kind, Source
from ragline.common.metrics import METRICS
from ragline.common.span_names import Dependency

__all__ = ["redis_errors", "script_source"]

_NOT_NOW = (ClusterDownError, MasterDownError, NoScriptError, OutOfMemoryError, ReadOnlyError)
"""Answers of a server that is there but cannot do it at the moment (memory full, failing over, just restarted)."""

_NOT_NOW_CODES = re.compile(r"\b(?:MISCONF|OOM|READONLY|BUSY|NOREPLICAS|MASTERDOWN|CLUSTERDOWN)\b")
"""The same (disk full, a long script) where the client has no class for it or the code stands inside the text."""


@cache
def script_source(name: str) -> str:
    """Text of one script with the shared prelude in front and the constants it needs."""
    constants = {
        "BUCKETS": _buckets(),
        "CENSUS_KEYS": CENSUS_KEYS,
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


@contextmanager
def redis_errors(operation: str, *, measured: bool = True) -> Iterator[None]:
    """Turn what the Redis client raises into our errors, and measure the call.

    Parameters
    ----------
    operation
        What is asked of Redis; one of few words.
    measured
        Not for a call that waits for something to happen: its time would say nothing of Redis.

    Raises
    ------
    TransientError
        The server is away, slow, or cannot write at the moment.
    ProtocolError
        The server answered something a working Redis would not.
    """
    with called(Dependency.REDIS, operation) if measured else nullcontext():
        try:
            yield
        except RedisError as error:
            raise _our_error(error, operation) from error
        except OSError as error:
            raise TransientError("redis", operation, type(error).__name__, reason=str(error)) from error


def _our_error(error: RedisError, operation: str) -> DependencyError:
    away = isinstance(error, (RedisConnectionError, RedisTimeoutError, *_NOT_NOW))
    not_now = isinstance(error, ResponseError) and _NOT_NOW_CODES.search(str(error))
    kind = TransientError if away or not_now else ProtocolError
    return kind("redis", operation, type(error).__name__, reason=str(error))
