"""Keys in a real Redis: made, found, revoked, rotated."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import redis

from ragline.common.access import Scope
from ragline.common.errors import Conflict, NotFound, TransientError
from ragline.common.redis_address import RedisAddress
from ragline.stores.api_keys import ApiKeyAdministration, ApiKeys, StoredKey
from ragline.stores.redis_connection import async_redis_client
from tests.support.access import Clock
from tests.support.servers import free_port

DAY = timedelta(days=1)
SCOPES = frozenset({Scope.READ, Scope.QUERY})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(redis_client: "redis.Redis", clock: Clock) -> ApiKeyAdministration:
    return ApiKeyAdministration(redis_client, clock=clock)


@pytest.fixture
def found(valkey_url: str, clock: Clock) -> "Found":
    return Found(valkey_url, clock)


class Found:
    """What the API makes of a token."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._address = RedisAddress(url=url)
        self._clock = clock

    def __call__(self, token: str) -> StoredKey | None:
        async def find() -> StoredKey | None:
            async with async_redis_client(self._address, decode_responses=True) as client:
                return await ApiKeys(client, clock=self._clock).find(token)

        return asyncio.run(find())


def test_a_key_is_found_by_its_token_alone(keys: ApiKeyAdministration, found: Found) -> None:
    limits = {"general_per_minute": 600, "rag_per_minute": 0}
    key, token = keys.create(name="Ünit 7", tenant="acme", scopes=SCOPES, lifetime=DAY, limits=limits)

    assert found(token) == key == keys.list()[0]
    assert (key.name, key.tenant, key.scopes, key.prefix) == ("Ünit 7", "acme", SCOPES, token[:10])
    assert (key.expires_at - key.created_at, key.general_per_minute, key.rag_per_minute) == (86_400, 600, 0)
    for other in (token[:-1] + ("A" if token[-1] != "A" else "B"), key.id, key.sha256, f"rk_{'a' * 43}"):
        assert found(other) is None


def test_no_token_is_stored(keys: ApiKeyAdministration, redis_client: "redis.Redis") -> None:
    tokens = [keys.create(name="n", tenant="acme", scopes=SCOPES)[1] for _ in range(3)]
    tokens.append(keys.rotate(keys.list()[0].id, overlap=DAY)[1])
    stored = []
    for name in redis_client.scan_iter():
        assert redis_client.type(name) == "hash"
        row: Any = redis_client.hgetall(name)
        stored += [name, *row.keys(), *row.values()]
    assert len(stored) > 40
    for token in tokens:
        # Its first ten characters are shown to people; nothing stored holds more of it.
        assert [text for text in stored if token[3:14] in text] == []
        assert [text for text in stored if token[-20:] in text] == []


def test_tokens_and_ids_are_never_the_same(keys: ApiKeyAdministration) -> None:
    made = [keys.create(name="n", tenant="acme", scopes=SCOPES) for _ in range(50)]
    assert len({token for _, token in made}) == len({key.id for key, _ in made}) == 50
    assert {key.id for key in keys.list()} == {key.id for key, _ in made}


def test_a_key_expires(keys: ApiKeyAdministration, found: Found, clock: Clock) -> None:
    _, token = keys.create(name="n", tenant="acme", scopes=SCOPES, lifetime=DAY)
    clock.now += 86_399
    assert found(token) is not None
    clock.now += 1
    assert found(token) is None


def test_a_key_is_revoked_for_good(keys: ApiKeyAdministration, found: Found, clock: Clock) -> None:
    key, token = keys.create(name="n", tenant="acme", scopes=SCOPES)
    other = keys.create(name="n", tenant="acme", scopes=SCOPES)[1]
    revoked = keys.revoke(key.id)
    assert (revoked.revoked_at, found(token)) == (int(clock.now), None)
    clock.now += 100
    assert keys.revoke(key.id) == revoked
    assert found(other) is not None


def test_two_keys_work_while_one_is_rotated(keys: ApiKeyAdministration, found: Found, clock: Clock) -> None:
    limits = {"general_per_minute": 5}
    old, old_token = keys.create(name="n", tenant="acme", scopes=SCOPES, lifetime=30 * DAY, limits=limits)
    clock.now += 20 * 86_400
    new, token = keys.rotate(old.id, overlap=DAY)

    assert (new.id, token, new.sha256) != (old.id, old_token, old.sha256)
    assert (new.name, new.tenant, new.scopes, new.general_per_minute) == ("n", "acme", SCOPES, 5)
    assert new.expires_at - new.created_at == 30 * 86_400
    clock.now += 86_399
    assert found(old_token) is not None
    clock.now += 1
    assert found(old_token) is None
    assert found(token) == new


def test_an_overlap_gives_no_key_more_time(keys: ApiKeyAdministration, found: Found, clock: Clock) -> None:
    old, token = keys.create(name="n", tenant="acme", scopes=SCOPES, lifetime=timedelta(hours=1))
    keys.rotate(old.id, overlap=DAY)
    clock.now += 3_600
    assert found(token) is None


def test_a_key_that_is_over_is_not_rotated(keys: ApiKeyAdministration, clock: Clock) -> None:
    revoked = keys.create(name="n", tenant="acme", scopes=SCOPES)[0]
    expired = keys.create(name="n", tenant="acme", scopes=SCOPES, lifetime=DAY)[0]
    keys.revoke(revoked.id)
    clock.now += 86_400
    for key, state in ((revoked, "revoked"), (expired, "expired")):
        with pytest.raises(Conflict, match=state):
            keys.rotate(key.id, overlap=DAY)
    assert len(keys.list()) == 2


def test_an_unknown_key_is_not_found(keys: ApiKeyAdministration) -> None:
    for name in ("key_000000000000", "", "*"):
        with pytest.raises(NotFound):
            keys.revoke(name)
        with pytest.raises(NotFound):
            keys.rotate(name, overlap=DAY)


def test_a_scope_of_a_later_release_allows_nothing_here(
    keys: ApiKeyAdministration, found: Found, redis_client: "redis.Redis"
) -> None:
    key, token = keys.create(name="n", tenant="acme", scopes=SCOPES)
    redis_client.hset(f"ragline:api_key:{key.sha256}", mapping={"scopes": "read fly", "later": "x"})
    later = found(token)
    assert later is not None
    assert later.scopes == {Scope.READ}


def test_a_redis_that_is_away_is_a_transient_error(clock: Clock) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    with redis.Redis.from_url(url) as client, pytest.raises(TransientError):
        ApiKeyAdministration(client).list()
    with pytest.raises(TransientError):
        Found(url, clock)(f"rk_{'a' * 43}")
