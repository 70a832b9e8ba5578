"""API keys: random tokens of which only the SHA-256 digest is stored, with what each may do.

A hash per key under the digest of its token, so that looking one up is one read, and a hash that leads from the ids,
which people and logs know, to the digests. No record is ever deleted: an id in an old log line can be explained.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

import redis
import redis.asyncio

from ragline.common.access import Scope
from ragline.common.errors import Conflict, InvalidRequest, NotFound
from ragline.stores.redis_errors import redis_errors

__all__ = ["ApiKeyAdministration", "ApiKeys", "StoredKey", "check_tenant_name", "token_digest"]

_TOKEN = re.compile(r"rk_[A-Za-z0-9_-]{43}")
_TENANT_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")
_MAX_NAME_CHARS = 100
_PREFIX_CHARS = 10
_DIGESTS_KEY = "ragline:api_keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """What is known of a key; its token is not.

    Attributes
    ----------
    prefix
        How its token begins, for people who look for the key they hold.
    created_at, expires_at, revoked_at
        Unix time in seconds; 0: never.
    general_per_minute, rag_per_minute
        Limits of its own in requests per minute, 0 for none at all; None: the service's.
    """

    id: str
    name: str
    tenant: str
    scopes: frozenset[Scope]
    prefix: str
    sha256: str
    created_at: int
    expires_at: int = 0
    revoked_at: int = 0
    general_per_minute: int | None = None
    rag_per_minute: int | None = None

    def state(self, now: float) -> str:
        """``active``, ``revoked`` or ``expired`` at this Unix time."""
        if self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at and self.expires_at <= now else "active"


class ApiKeys:
    """Keys as the API looks them up.

    Parameters
    ----------
    clock
        Unix time in seconds.
    """

    def __init__(self, client: "redis.asyncio.Redis", *, clock: Callable[[], float] = time.time) -> None:
        # redis-py types every answer as one that may have to be awaited.
        self._redis: Any = client
        self._clock = clock

    async def find(self, token: str) -> StoredKey | None:
        """The key with this token; None for an unknown, revoked or expired one.

        Raises
        ------
        TransientError
            Redis is away.
        """
        if _TOKEN.fullmatch(token) is None:
            return None
        with redis_errors("read api key"):
            row = await self._redis.hgetall(_record_key(token_digest(token)))
        key = _stored_key(row) if row else None
        return key if key and key.state(self._clock()) == "active" else None


class ApiKeyAdministration:
    """Keys as the command line manages them. All methods raise `TransientError` when Redis is away.

    Parameters
    ----------
    client
        Must decode responses.
    clock
        Unix time in seconds.
    """

    def __init__(self, client: "redis.Redis", *, clock: Callable[[], float] = time.time) -> None:
        # redis-py types every answer as one that may have to be awaited.
        self._redis: Any = client
        self._clock = clock

    def create(
        self,
        *,
        name: str,
        tenant: str,
        scopes: frozenset[Scope],
        lifetime: timedelta | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> tuple[StoredKey, str]:
        """Make a key.

        Parameters
        ----------
        lifetime
            Until it expires; None: it does not.
        limits
            ``general_per_minute`` and ``rag_per_minute``, where they are not the service's.

        Returns
        -------
        tuple
            The key and its token, which nobody can find out later.

        Raises
        ------
        InvalidRequest
            Tenant or key cannot have this name, or there is no scope.
        """
        check_tenant_name(tenant)
        if not (0 < len(name) <= _MAX_NAME_CHARS and name.isprintable()):
            raise InvalidRequest(f"A key's name has 1 to {_MAX_NAME_CHARS} characters that can be seen")
        if not scopes:
            raise InvalidRequest("A key needs at least one scope")
        now = int(self._clock())
        key, token = _fresh(
            StoredKey(
                id="",
                name=name,
                tenant=tenant,
                scopes=scopes,
                prefix="",
                sha256="",
                created_at=now,
                expires_at=now + _seconds(lifetime) if lifetime else 0,
                **(limits or {}),
            )
        )
        with redis_errors("create api key"):
            pipe = self._redis.pipeline()
            _write(pipe, key)
            pipe.execute()
        return key, token

    def list(self) -> list[StoredKey]:
        """All keys there ever were, oldest first."""
        with redis_errors("list api keys"):
            digests = self._redis.hvals(_DIGESTS_KEY)
            pipe = self._redis.pipeline(transaction=False)
            for digest in digests:
                pipe.hgetall(_record_key(digest))
            rows = pipe.execute()
        return sorted(map(_stored_key, rows), key=lambda key: (key.created_at, key.id))

    def revoke(self, key_id: str) -> StoredKey:
        """Refuse a key from now on; one that is revoked stays as it is.

        Raises
        ------
        NotFound
            There is no such key.
        """

        def revoked(key: StoredKey, _pipe: Any) -> StoredKey:  # noqa: ANN401 - a pipeline
            return key if key.revoked_at else replace(key, revoked_at=int(self._clock()))

        return self._change(key_id, revoked)

    def rotate(self, key_id: str, *, overlap: timedelta) -> tuple[StoredKey, str]:
        """Make a key with the same properties and lifetime; the old one expires after the overlap.

        Returns
        -------
        tuple
            The new key and its token.

        Raises
        ------
        NotFound
            There is no such key.
        Conflict
            It is revoked or expired: whoever holds it has no access that could be handed on.
        """
        now = int(self._clock())
        successor: tuple[StoredKey, str] | None = None

        def retired(old: StoredKey, pipe: Any) -> StoredKey:  # noqa: ANN401 - a pipeline
            nonlocal successor
            if (state := old.state(now)) != "active":
                raise Conflict(f"The key {old.id} is {state}")
            expires_at = now + old.expires_at - old.created_at if old.expires_at else 0
            successor = _fresh(replace(old, created_at=now, expires_at=expires_at))
            _write(pipe, successor[0])
            end = now + _seconds(overlap)
            return replace(old, expires_at=min(old.expires_at or end, end))

        self._change(key_id, retired)
        if successor is None:
            raise NotFound(_no_key(key_id))
        return successor

    def _change(self, key_id: str, change: Callable[[StoredKey, Any], StoredKey]) -> StoredKey:
        with redis_errors("read api key"):
            digest = self._redis.hget(_DIGESTS_KEY, key_id)
        if digest is None:
            raise NotFound(_no_key(key_id))

        def transaction(pipe: Any) -> StoredKey:  # noqa: ANN401 - a pipeline
            old = _stored_key(pipe.hgetall(_record_key(digest)))
            pipe.multi()
            new = change(old, pipe)
            _write(pipe, new)
            return new

        with redis_errors("change api key"):
            changed: StoredKey = self._redis.transaction(transaction, _record_key(digest), value_from_callable=True)
        return changed


def check_tenant_name(name: str) -> str:
    """The name unchanged. It becomes part of names of Redis keys, whose parts are separated by ``:``.

    Raises
    ------
    InvalidRequest
        Unless it has 1 to 63 letters, digits, ``.``, ``_`` or ``-``.
    """
    if _TENANT_NAME.fullmatch(name) is None:
        raise InvalidRequest("A tenant's name has 1 to 63 letters, digits, '.', '_' or '-'")
    return name


def token_digest(token: str) -> str:
    """SHA-256 in hex. A token has 256 random bits: a slow hash would protect nothing that this one does not."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _fresh(like: StoredKey) -> tuple[StoredKey, str]:
    token = f"rk_{secrets.token_urlsafe(32)}"
    key = replace(like, id=f"key_{secrets.token_hex(6)}", prefix=token[:_PREFIX_CHARS], sha256=token_digest(token))
    return key, token


def _no_key(key_id: str) -> str:
    return f"There is no key {key_id}"


def _record_key(digest: str) -> str:
    return f"ragline:api_key:{digest}"


def _seconds(duration: timedelta) -> int:
    return int(duration.total_seconds())


def _stored_key(row: Mapping[str, str]) -> StoredKey:
    # A later release may know more scopes; what this one does not know, it does not allow.
    scopes = frozenset(Scope) & frozenset(row["scopes"].split())
    limits = {name: int(row[name]) for name in ("general_per_minute", "rag_per_minute") if name in row}
    return StoredKey(
        id=row["id"],
        name=row["name"],
        tenant=row["tenant"],
        scopes=frozenset(map(Scope, scopes)),
        prefix=row["prefix"],
        sha256=row["sha256"],
        created_at=int(row["created_at"]),
        expires_at=int(row["expires_at"]),
        revoked_at=int(row["revoked_at"]),
        general_per_minute=limits.get("general_per_minute"),
        rag_per_minute=limits.get("rag_per_minute"),
    )


def _write(pipe: Any, key: StoredKey) -> None:  # noqa: ANN401 - a pipeline
    row = {name: value for name, value in asdict(key).items() if value is not None}
    pipe.hset(_record_key(key.sha256), mapping={**row, "scopes": " ".join(sorted(key.scopes))})
    pipe.hset(_DIGESTS_KEY, key.id, key.sha256)
