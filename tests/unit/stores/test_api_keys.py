import asyncio
import hashlib
from typing import Any

import pytest

from ragline.common.access import Scope
from ragline.common.errors import InvalidRequest
from ragline.stores.api_keys import ApiKeyAdministration, ApiKeys, StoredKey, check_tenant_name, token_digest

NOW = 1_000


class Unasked:
    """A Redis that must not be asked."""

    def __getattr__(self, name: str) -> object:
        pytest.fail(f"{name} was called")


def _key(*, expires_at: int = 0, revoked_at: int = 0) -> StoredKey:
    return StoredKey(
        id="key_0123456789ab",
        name="n",
        tenant="acme",
        scopes=frozenset(Scope),
        prefix="rk_0123456",
        sha256="0" * 64,
        created_at=NOW - 500,
        expires_at=expires_at,
        revoked_at=revoked_at,
    )


@pytest.mark.parametrize(
    ("expires_at", "revoked_at", "state"),
    [
        (0, 0, "active"),
        (NOW + 1, 0, "active"),
        (NOW, 0, "expired"),
        (NOW - 1, 0, "expired"),
        (0, NOW, "revoked"),
        (NOW - 1, NOW - 2, "revoked"),
    ],
)
def test_a_key_ends_when_its_time_is_over_or_somebody_says_so(expires_at: int, revoked_at: int, state: str) -> None:
    assert _key(expires_at=expires_at, revoked_at=revoked_at).state(NOW) == state


@pytest.mark.parametrize("name", ["a", "default", "team-1", "Acme_EU.v2", "x" * 63, "-", "."])
def test_a_tenant_may_have_this_name(name: str) -> None:
    assert check_tenant_name(name) == name


@pytest.mark.parametrize("name", ["", "x" * 64, "a:b", "a/b", "a b", "ä", "a\n", "\n", "a*", "{a}", "a\0"])
def test_a_tenant_may_not_have_this_name(name: str) -> None:
    with pytest.raises(InvalidRequest):
        check_tenant_name(name)
    with pytest.raises(InvalidRequest):
        _unconnected().create(name="n", tenant=name, scopes=frozenset(Scope))


@pytest.mark.parametrize("name", ["", "x" * 101, "two\nlines", "bell\a"])
def test_a_key_may_not_have_this_name(name: str) -> None:
    with pytest.raises(InvalidRequest):
        _unconnected().create(name=name, tenant="acme", scopes=frozenset(Scope))


def test_a_key_without_scopes_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="scope"):
        _unconnected().create(name="n", tenant="acme", scopes=frozenset())


@pytest.mark.parametrize(
    "token",
    [
        "",
        "rk_",
        "rk_" + "a" * 42,
        "rk_" + "a" * 44,
        "rk-" + "a" * 43,
        "RK_" + "a" * 43,
        "rk_" + "a" * 42 + "=",
        "rk_" + "a" * 42 + "\n",
        "rk_" + "ä" * 43,
        "x" * 10_000,
    ],
    ids=lambda token: repr(token)[:16],
)
def test_what_cannot_be_a_token_is_not_looked_up(token: str) -> None:
    unasked: Any = Unasked()
    assert asyncio.run(ApiKeys(unasked).find(token)) is None


def test_the_digest_is_sha256() -> None:
    assert token_digest("rk_x") == hashlib.sha256(b"rk_x").hexdigest()
    assert len(token_digest("\udcff")) == 64


def _unconnected() -> ApiKeyAdministration:
    unasked: Any = Unasked()
    return ApiKeyAdministration(unasked)
