"""What the Redis client raises, as our errors."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

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
from ragline.common.errors import DependencyError, ProtocolError, TransientError
from ragline.common.span_names import Dependency

__all__ = ["redis_errors"]

_NOT_NOW = (ClusterDownError, MasterDownError, NoScriptError, OutOfMemoryError, ReadOnlyError)
"""Answers of a server that is there but cannot do it at the moment (memory full, failing over, just restarted)."""

_NOT_NOW_CODES = re.compile(r"\b(?:MISCONF|OOM|READONLY|BUSY|NOREPLICAS|MASTERDOWN|CLUSTERDOWN)\b")
"""The same (disk full, a long script) where the client has no class for it or the code stands inside the text."""


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
