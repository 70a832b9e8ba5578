"""Row j, the ingress' half: too many requests of one client are refused, and another client is not."""

from typing import Any

from e2e.support.cluster import ensure_traefik
from e2e.support.figures import Figures
from e2e.support.kubectl import Kubectl
from e2e.support.pods import Script
from e2e.support.release import Release, namespace
from tests.support.waiting import wait_until

_HOST = "ragline.test"
_SECONDS = 30
_GENERAL_PER_MINUTE, _RAG_PER_MINUTE = 60, 20
_GENERAL_BURST, _RAG_BURST = 20, 5


def test_j_the_ingress_limits_each_client(own_namespace: Kubectl, figure: Figures) -> None:
    ensure_traefik(own_namespace.context)
    release = Release(own_namespace, "ingress.enabled=true", "ingress.className=traefik", f"ingress.host={_HOST}")
    release.load_images()
    release.helm.install()
    release.wait_ready()
    with namespace(own_namespace.context, "ragline-e2e-clients", closed=False) as clients:
        wait_until(lambda: _first_status(clients, release) == 200, timeout_seconds=60, interval_seconds=1)
        general = _client(clients, release, "general", "GET", "/tasks/info", pause=0.1, seconds=_SECONDS)
        rag = _client(clients, release, "rag", "POST", "/v1/collections/none/queries", pause=0.1, seconds=_SECONDS)
        # Once in four seconds is what both limits allow.
        modest = _client(clients, release, "modest", "POST", "/v1/collections/none/queries", pause=4, seconds=_SECONDS)
        _check_limited(figure, "general", general.result(), per_minute=_GENERAL_PER_MINUTE, burst=_GENERAL_BURST)
        _check_limited(figure, "questions", rag.result(), per_minute=_RAG_PER_MINUTE, burst=_RAG_BURST)
        refused = [status for _, status, _ in modest.result() if status == 429]

    figure("refusals of a modest client beside two greedy ones", len(refused), "", at_most=0)


def _check_limited(figure: Figures, what: str, seen: list[Any], *, per_minute: int, burst: int) -> None:
    passed = [at for at, status, _ in seen if status != 429]
    refusals = [headers for _, status, headers in seen if status == 429]
    allowed = burst + per_minute * _SECONDS / 60
    figure(f"{what}: passed in {_SECONDS} s of {len(seen)}, allowed {allowed:g}", len(passed), "", at_most=allowed + 2)
    assert len(passed) >= allowed - 3
    assert refusals
    assert all(int(headers["Retry-After"]) >= 1 for headers in refusals)
    assert {headers.get("X-Content-Type-Options") for headers in refusals} == {"nosniff"}


def _client(clients: Kubectl, release: Release, name: str, *request: str, pause: float, seconds: float) -> Script:
    arguments = (str(seconds), *request, str(pause))
    return Script(clients, f"client-{name}", *arguments, script="client", image=release.image("api"), labels={})


def _first_status(clients: Kubectl, release: Release) -> int:
    ((_, status, _),) = _client(clients, release, "first", "GET", "/tasks/info", pause=0, seconds=0).result()
    return int(status)
