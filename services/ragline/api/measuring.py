"""What is measured of each request: how many, how they ended, how long they took, by the template of their address."""

from typing import Any

from starlette.routing import Match
from starlette.types import Scope

from ragline.common.measurements import MEASUREMENTS
from ragline.common.metrics import HTTP_DURATION, HTTP_REQUESTS
from ragline.common.span_names import UNMATCHED

__all__ = ["QUIET_PATHS", "is_stream", "measure_request", "note_stream", "route_template"]

QUIET_PATHS = frozenset({"/healthz", "/metrics", "/readyz"})
"""What probes and Prometheus ask for every few seconds: neither logged nor measured."""

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})

_LEFT = 499
"""Shown for a client that left before it was answered, as nginx calls it."""


def is_stream(scope: Scope) -> bool:
    """Whether a request is answered by an event stream: how long that lasts says nothing of us."""
    return bool(scope["state"].get("streams"))


def note_stream(scope: Scope) -> None:
    """Say that a request is answered by an event stream."""
    scope.setdefault("state", {})["streams"] = True


def measure_request(scope: Scope, status: int, seconds: float) -> None:
    """Count one request.

    Parameters
    ----------
    status
        Of its answer; 0 when there was none.
    """
    if scope["path"] in QUIET_PATHS:
        return
    method = scope["method"] if scope["method"] in _METHODS else "other"
    route = route_template(scope)
    MEASUREMENTS.count(HTTP_REQUESTS, method, route, str(status or _LEFT))
    MEASUREMENTS.observe(HTTP_DURATION, seconds, method, route)


def route_template(scope: Scope) -> str:
    """The address of a request without the names in it: of its route, or the one that it would have come to."""
    route: Any = scope.get("route") or _matching(scope)
    return str(getattr(route, "path", UNMATCHED))


def _matching(scope: Scope) -> object:
    """The route that a request would have come to, had it not been refused before."""
    routes = scope["app"].router.routes
    return next((route for route in routes if route.matches(scope)[0] is not Match.NONE), None)
