import pytest

from ragline.common.redis_address import RedisAddress

SECRET = "a-secret-of-a-test"


def test_one_server_is_an_address_alone() -> None:
    assert not RedisAddress(url="rediss://:pw@host:1/2").has_sentinels


@pytest.mark.parametrize(
    ("url", "sentinels", "server"),
    [
        ("sentinel://one", [("one", 26379)], (None, None, 0)),
        ("sentinel://one:1,two/3", [("one", 1), ("two", 26379)], (None, None, 3)),
        ("sentinel://:p%40%2C%3Bw@one:1,[::1]:2/0", [("one", 1), ("::1", 2)], (None, "p@,;w", 0)),
        ("sentinel://user:a,b@one:1/", [("one", 1)], ("user", "a,b", 0)),
    ],
)
def test_sentinels_are_read_from_the_address(
    url: str, sentinels: list[tuple[str, int]], server: tuple[str | None, str | None, int]
) -> None:
    address = RedisAddress(url=url, master="m")
    assert address.sentinels == tuple(sentinels)
    assert (address.username, address.password, address.database) == server


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        ({"url": f"sentinel://:{SECRET}@one"}, "REDIS_SENTINEL_MASTER"),
        ({"url": f"redis://:{SECRET}@one", "master": "m"}, "begins with sentinel://"),
        ({"url": f"redis://:{SECRET}@one", "sentinel_password": SECRET}, "begins with sentinel://"),
        *(
            ({"url": f"sentinel://:{SECRET}@{hosts}", "master": "m"}, "host:port,host:port/database")
            for hosts in ("", "one,", "one:x", "one:70000", "one/x", "one/-1", "one/1/2", "one?db=1", "[::1")
        ),
    ],
)
def test_what_does_not_go_together_is_refused_without_the_secret(rest: dict[str, str], told: str) -> None:
    with pytest.raises(ValueError, match=told) as raised:
        RedisAddress(**rest)
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


def test_its_picture_has_no_secret() -> None:
    assert SECRET not in repr(RedisAddress(url=f"sentinel://:{SECRET}@one", master="m", sentinel_password=SECRET))
