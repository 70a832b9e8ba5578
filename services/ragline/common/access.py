"""Who a caller is and what it may do."""

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Principal", "Scope"]


class Scope(StrEnum):
    """What an API key allows; ``admin`` includes all others."""

    INGEST = "ingest"
    QUERY = "query"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The owner of one request.

    Attributes
    ----------
    caller
        Whom its rate limits are counted for: a key's id, or a client's address.
    general_per_minute, rag_per_minute
        The key's own limits in requests per minute; None: the service's.
    """

    tenant: str
    caller: str
    scopes: frozenset[Scope] = field(default_factory=lambda: frozenset(Scope))
    general_per_minute: int | None = None
    rag_per_minute: int | None = None

    def may(self, scope: Scope) -> bool:
        """Whether it has a scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes
