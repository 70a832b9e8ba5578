"""Who sends a request, and whether one more is within its limits: asked before a byte of the body is read."""

import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from math import ceil, inf

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ragline.api.problems import problem_response
from ragline.common.access import Principal
from ragline.common.config import ApiConfig
from ragline.common.constants import DEFAULT_TENANT
from ragline.common.errors import DependencyError, RagError, RateLimited, Unauthorized
from ragline.common.measurements import MEASUREMENTS
from ragline.common.metrics import RATE_LIMIT_REFUSALS
from ragline.common.spans import current_span
from ragline.stores.api_keys import ApiKeys, StoredKey, token_digest
from ragline.stores.rate_limits import WINDOW, RateLimits, Usage

__all__ = ["KEY_CACHE", "AccessControl", "AccessMiddleware", "Verdict", "client_address", "policy_of"]

logger = structlog.get_logger(__name__)

KEY_CACHE = timedelta(seconds=5)
"""How long a key that was found is believed without another look: a revocation takes effect within it. It saves a busy
key nearly all of its look-ups, and is shorter than a person needs to notice that a key has leaked."""

_MAX_CACHED_KEYS = 10_000
"""About 5 MB. Unknown keys are not kept, so nobody can push out those in use by making some up."""

_PUBLIC = re.compile(r"/(?:healthz|readyz|metrics|errors/.*|docs|redoc|openapi\.json)")
_ASKING = re.compile(r"/v1/collections/[^/]+/queries|/v1/chat/completions|/v1/embeddings|/rag/query(?:/sync)?")

_WINDOW_SECONDS = int(WINDOW.total_seconds())

_SITE_PREFIX_BITS = 64
"""What one IPv6 customer has at least: its addresses are one client, or a limit could be dodged 2^64 times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to happen with a request.

    Attributes
    ----------
    outcome
        Who sent it, or why it is refused.
    policy
        Name of the limit that it was held against.
    usage
        How far that is used up; None: it was not counted.
    """

    outcome: Principal | RagError
    policy: str
    usage: Usage | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What an answer says about limits (draft-ietf-httpapi-ratelimit-headers)."""
        if self.usage is None:
            return {}
        frees_after = ceil(self.usage.frees_after.total_seconds())
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.usage.limit};w={_WINDOW_SECONDS}',
            "RateLimit": f'"{self.policy}";r={self.usage.remaining};t={frees_after}',
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    principal: Principal
    until: float


class AccessControl:
    """Decides about requests.

    Parameters
    ----------
    keys
        Those that `ragline keys` made.
    limits
        Counts requests.
    config
        Whether keys are wanted, plain keys, and the limits of whoever has none of its own.
    clock
        Unix time in seconds.
    """

    def __init__(
        self, *, keys: ApiKeys, limits: RateLimits, config: ApiConfig, clock: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._limits = limits
        self._wants_keys = config.enable_auth
        listed = (key.strip().encode() for key in config.api_keys.get_secret_value().split(","))
        self._static = [key for key in listed if key]
        self._per_minute = {
            "general": config.rate_limit_general_per_minute,
            "rag": config.rate_limit_rag_per_minute,
        }
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def judge(self, token: str | None, address: str, policy: str) -> Verdict:
        """Find out who sends a request and count it.

        A key that has not been seen here costs a look at the failures of the client's address, so that who has
        failed too often cannot go on to guess; a key in use is not held up by others behind the same address.

        Parameters
        ----------
        token
            What was sent as a key, if anything was.

        Raises
        ------
        TransientError
            Redis is away.
        """
        if not self._wants_keys:
            return await self._counted(Principal(tenant=DEFAULT_TENANT, caller=address), policy)
        known = self._recall(token_digest(token)) if token else None
        if known is not None and known.until > self._clock():
            return await self._counted(known.principal, policy)
        limit = self._per_minute["general"]
        if known is None and limit:
            usage = await self._limits.look("general", address, limit)
            if not usage.allowed:
                return _too_many(usage, "general")
        principal = await self._identified(token) if token else None
        if principal is not None:
            return await self._counted(principal, policy)
        failure = await self._limits.hit("general", address, limit) if limit else None
        refusal = Unauthorized("Send a valid key as X-API-Key or Authorization: Bearer")
        return Verdict(outcome=refusal, policy="general", usage=failure)

    async def _counted(self, principal: Principal, policy: str) -> Verdict:
        own = principal.rag_per_minute if policy == "rag" else principal.general_per_minute
        limit = self._per_minute[policy] if own is None else own
        if not limit:
            return Verdict(outcome=principal, policy=policy)
        usage = await self._limits.hit(policy, principal.caller, limit)
        return Verdict(outcome=principal, policy=policy, usage=usage) if usage.allowed else _too_many(usage, policy)

    async def _identified(self, token: str) -> Principal | None:
        digest, given = token_digest(token), token.encode("utf-8", "surrogatepass")
        # Every plain key is compared, and in constant time, so that the time of an answer tells nothing.
        matches = [number for number, key in enumerate(self._static, 1) if secrets.compare_digest(given, key)]
        if matches:
            # By its place: people may have chosen a plain key themselves, and a digest in a log could be tried against.
            found = _Known(principal=Principal(tenant=DEFAULT_TENANT, caller=f"static_{matches[0]}"), until=inf)
        else:
            key = await self._keys.find(token)
            if key is None:
                self._known.pop(digest, None)
                return None
            found = _Known(principal=_principal(key), until=self._believed_until(key))
        self._known[digest] = found
        if len(self._known) > _MAX_CACHED_KEYS:
            self._known.popitem(last=False)
        return found.principal

    def _believed_until(self, key: StoredKey) -> float:
        until = self._clock() + KEY_CACHE.total_seconds()
        return min(until, key.expires_at) if key.expires_at else until

    def _recall(self, digest: str) -> _Known | None:
        known = self._known.get(digest)
        if known is not None:
            self._known.move_to_end(digest)
        return known


class AccessMiddleware:
    """Lets a request through with a `Principal` in its state, or answers for the app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or _PUBLIC.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        verdict = await _verdict(scope)
        # `RequestContextMiddleware` sends them with whatever is answered, by the app or in its place.
        scope["state"]["headers"] = verdict.headers
        if isinstance(verdict.outcome, Principal):
            scope["state"]["principal"] = verdict.outcome
            await self._app(scope, receive, send)
            return
        if isinstance(verdict.outcome, Unauthorized) and (span := current_span()) is not None:
            # Strangers do not decide what is traced, as a caller does by the flag of its `traceparent`.
            span.drop()
        reply = problem_response(verdict.outcome, *scope["state"]["trace"].ids, path=scope["path"])
        await reply(scope, receive, send)


def client_address(scope: Mapping[str, object]) -> str:
    """Whom requests without a key are counted for: an IPv4 address, or the network of an IPv6 one."""
    match scope.get("client"):
        case (str(host), _):
            return _network(host)
        case _:
            return "unknown"


def policy_of(method: str, path: str) -> str:
    """The limit that a request falls under: ``rag`` for those that make a model work, else ``general``."""
    return "rag" if method == "POST" and _ASKING.fullmatch(path) else "general"


async def _verdict(scope: Scope) -> Verdict:
    control: AccessControl = scope["app"].state.context.access
    policy = policy_of(scope["method"], scope["path"])
    try:
        return await control.judge(_token(Headers(scope=scope)), client_address(scope), policy)
    except DependencyError as error:
        logger.warning("request failed", next=f"the caller is answered {error.status:d}", **error.to_log())
        return Verdict(outcome=error, policy=policy)


@lru_cache(maxsize=1024)
def _network(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        # A socket's name, or what a proxy calls its client.
        return token_digest(host)[:12]
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or IPv6Network((int(address), _SITE_PREFIX_BITS), strict=False))
    return str(address)


def _principal(key: StoredKey) -> Principal:
    return Principal(
        tenant=key.tenant,
        caller=key.id,
        scopes=key.scopes,
        general_per_minute=key.general_per_minute,
        rag_per_minute=key.rag_per_minute,
    )


def _token(headers: Headers) -> str | None:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    return headers.get("x-api-key") or (bearer.strip() if scheme.lower() == "bearer" else None) or None


def _too_many(usage: Usage, policy: str) -> Verdict:
    seconds = max(1, ceil(usage.frees_after.total_seconds()))
    detail = f"{usage.limit} requests of the kind '{policy}' in {_WINDOW_SECONDS} s are the limit; try in {seconds} s"
    refusal = RateLimited(detail, retry_after=timedelta(seconds=seconds))
    MEASUREMENTS.count(RATE_LIMIT_REFUSALS, policy)
    return Verdict(outcome=refusal, policy=policy, usage=usage)
