"""Where Redis is: one server, or Sentinels that know which server is the master."""

from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

__all__ = ["RedisAddress"]

_SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """A Redis as the settings name it.

    Parameters
    ----------
    url
        ``redis://`` or ``rediss://`` and one server, or ``sentinel://host:port,host:port/database`` with the Sentinels.
        User and password are always those of the servers that hold the data.
    master
        Name under which the Sentinels know the master; empty without Sentinels.
    sentinel_password
        Password of the Sentinels themselves; ``None``: they want none.

    Raises
    ------
    ValueError
        The three do not go together, or the Sentinels cannot be read from the address.
    """

    url: str = field(repr=False)
    master: str = ""
    sentinel_password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.has_sentinels:
            if self.master or self.sentinel_password is not None:
                msg = "REDIS_SENTINEL_MASTER and REDIS_SENTINEL_PASSWORD need a REDIS_URL that begins with sentinel://"
                raise ValueError(msg)
            return
        if not self.master:
            msg = "REDIS_URL=sentinel://... needs REDIS_SENTINEL_MASTER, the name of the master"
            raise ValueError(msg)
        try:
            readable = all(host for host, _ in self.sentinels) and self.database >= 0 and not self._parts.query
        except ValueError:
            readable = False
        if not readable:
            msg = "REDIS_URL with Sentinels must be sentinel://host:port,host:port/database"
            # The cause would show the address, which may hold a password.
            raise ValueError(msg) from None

    @property
    def database(self) -> int:
        """Number of the database."""
        return int(self._parts.path.removeprefix("/") or 0)

    @property
    def has_sentinels(self) -> bool:
        """Whether the address is that of Sentinels."""
        return self.url.startswith("sentinel://")

    @property
    def password(self) -> str | None:
        """Password of the servers that hold the data, as they know it."""
        return unquote(self._parts.password) if self._parts.password else None

    @property
    def sentinels(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each Sentinel."""
        listed = self._parts.netloc.rpartition("@")[2].split(",")
        split = [urlsplit(f"//{address}") for address in listed]
        return tuple((one.hostname or "", one.port or _SENTINEL_PORT) for one in split)

    @property
    def username(self) -> str | None:
        """User at the servers that hold the data; ``None``: the default one."""
        return unquote(self._parts.username) if self._parts.username else None

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.url)
