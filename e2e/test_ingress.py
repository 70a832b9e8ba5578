"""Row j: too many requests of one client are refused, by the ingress and by the service, and another client is not."""

import json
from dataclasses import dataclass
from typing import Any

from e2e.support.cluster import ensure_traefik
from e2e.support.figures import Figures
from e2e.support.kubectl import Kubectl
from e2e.support.pods import Script
from e2e.support.release import Release, namespace
from tests.support.waiting import wait_until

_HOST = "ragline.test"
_INGRESS = ("ingress.enabled=true", "ingress.className=traefik", f"ingress.host={_HOST}")
_CLIENTS = "ragline-e2e-clients"

_SECONDS = 30
_GENERAL_PER_MINUTE, _RAG_PER_MINUTE = 60, 20
_GENERAL_BURST, _RAG_BURST = 20, 5

_SHORT_SECONDS = 5
_GREEDY_PER_MINUTE, _FAILURES_PER_MINUTE = 20, 8

_SCRAPE = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/metrics').read().decode())"

_QUESTION = ("POST", "/v1/collections/none/queries")
_LOOK = ("GET", "/tasks/info")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    at: float
    status: int
    headers: dict[str, str]
    code: str


class _Client:
    """A pod outside of the release that asks through the ingress."""

    def __init__(
        self, clients: Kubectl, release: Release, name: str, *request: str, pause: float, seconds: float, key: str = ""
    ) -> None:
        arguments = (str(seconds), *request, str(pause), key)
        self._script = Script(
            clients, f"client-{name}", *arguments, script="client", image=release.image("api"), labels={}
        )

    def answers(self) -> list[_Answer]:
        """What it was answered, once it has ended."""
        found = self._script.result()
        return [_Answer(at=at, status=status, headers=headers, code=code) for at, status, headers, code in found]


def test_j_the_ingress_limits_each_client(own_namespace: Kubectl, figure: Figures) -> None:
    release = _installed(own_namespace)
    with namespace(own_namespace.context, _CLIENTS, closed=False) as clients:
        _await_route(clients, release)
        general = _Client(clients, release, "general", *_LOOK, pause=0.1, seconds=_SECONDS)
        rag = _Client(clients, release, "rag", *_QUESTION, pause=0.1, seconds=_SECONDS)
        # Once in four seconds is what both limits allow.
        modest = _Client(clients, release, "modest", *_QUESTION, pause=4, seconds=_SECONDS)
        _check_ingress(figure, "general", general.answers(), per_minute=_GENERAL_PER_MINUTE, burst=_GENERAL_BURST)
        _check_ingress(figure, "questions", rag.answers(), per_minute=_RAG_PER_MINUTE, burst=_RAG_BURST)
        refused = _with(429, modest.answers())
        (scrape,) = _Client(clients, release, "scrape", "GET", "/metrics", pause=0, seconds=0).answers()

    figure("refusals of a modest client beside two greedy ones", len(refused), "", at_most=0)
    # What all processes have counted is for those inside of the cluster.
    assert (scrape.status, scrape.code) == (404, "not_found")
    assert "ragline_ledger_up 1.0" in release.in_api("python", "-c", _SCRAPE)


def test_j_the_service_limits_each_key(own_namespace: Kubectl, figure: Figures) -> None:
    wide = [f"ingress.rateLimit.{name}=6000" for name in ("generalPerMinute", "ragPerMinute")]
    wide += [f"ingress.rateLimit.{name}=1000" for name in ("generalBurst", "ragBurst")]
    limits = f"config.rateLimitGeneralPerMinute={_FAILURES_PER_MINUTE}"
    trusted = f"config.trustedProxies={_pod_networks(own_namespace)}"
    release = _installed(own_namespace, "auth.enabled=true", limits, trusted, *wide)
    own_limit = ("--general-per-minute", str(_GREEDY_PER_MINUTE))
    keys = {name: _key(release, name, *own_limit) for name in ("greedy", "modest")}
    keys["reader"] = _key(release, "reader", "--scope", "read")
    with namespace(own_namespace.context, _CLIENTS, closed=False) as clients:
        _await_route(clients, release)
        seconds = _SHORT_SECONDS
        greedy = _Client(clients, release, "greedy", *_LOOK, pause=0.05, seconds=seconds, key=keys["greedy"])
        modest = _Client(clients, release, "modest", *_LOOK, pause=1, seconds=seconds, key=keys["modest"])
        nameless = _Client(clients, release, "nameless", *_LOOK, pause=0.05, seconds=seconds)
        neighbour = _Client(clients, release, "neighbour", *_LOOK, pause=1, seconds=seconds)
        reader = _Client(clients, release, "reader", *_QUESTION, pause=0, seconds=0, key=keys["reader"])
        seen = {"greedy": greedy.answers(), "nameless": nameless.answers()}
        modest_seen, neighbour_seen, (forbidden,) = modest.answers(), neighbour.answers(), reader.answers()

    _check_service(figure, "a key", seen["greedy"], allowed=_GREEDY_PER_MINUTE, passed_with=200)
    _check_service(figure, "an address without a key", seen["nameless"], allowed=_FAILURES_PER_MINUTE, passed_with=401)
    assert {answer.status for answer in modest_seen} == {200}
    assert {(answer.status, answer.code) for answer in neighbour_seen} == {(401, "unauthorized")}
    refused = _with(429, modest_seen) + _with(429, neighbour_seen)
    figure("refusals of another key and another address beside them", len(refused), "", at_most=0)
    assert (forbidden.status, forbidden.code) == (403, "forbidden")


def _check_ingress(figure: Figures, what: str, seen: list[_Answer], *, per_minute: int, burst: int) -> None:
    refusals = _with(429, seen)
    passed = len(seen) - len(refusals)
    allowed = burst + per_minute * _SECONDS / 60
    figure(f"{what}: passed in {_SECONDS} s of {len(seen)}, allowed {allowed:g}", passed, "", at_most=allowed + 2)
    assert passed >= allowed - 3
    assert refusals
    assert all(int(refusal.headers["retry-after"]) >= 1 for refusal in refusals)
    assert {refusal.headers.get("x-content-type-options") for refusal in refusals} == {"nosniff"}
    assert {refusal.code for refusal in refusals} == {""}


def _check_service(figure: Figures, what: str, seen: list[_Answer], *, allowed: int, passed_with: int) -> None:
    refusals, passed = _with(429, seen), _with(passed_with, seen)
    said = f"{what}: passed in {_SHORT_SECONDS} s of {len(seen)}, allowed {allowed}"
    figure(said, len(passed), "", at_most=allowed)
    assert len(passed) == allowed
    assert len(refusals) == len(seen) - allowed > 0
    assert {refusal.code for refusal in refusals} == {"rate_limited"}
    assert all(0 < int(refusal.headers["retry-after"]) <= 60 for refusal in refusals)
    assert {answer.headers["ratelimit-policy"] for answer in seen} == {f'"general";q={allowed};w=60'}
    assert all(answer.headers["ratelimit"].startswith('"general";r=0;t=') for answer in [passed[-1], *refusals])


def _with(status: int, seen: list[_Answer]) -> list[_Answer]:
    return [answer for answer in seen if answer.status == status]


def _installed(kubectl: Kubectl, *settings: str) -> Release:
    ensure_traefik(kubectl.context)
    release = Release(kubectl, *_INGRESS, *settings)
    release.load_images()
    release.helm.install()
    release.wait_ready()
    return release


def _key(release: Release, name: str, *options: str) -> str:
    """A key as operators make it; the text that callers send."""
    made: Any = json.loads(release.in_api("ragline", "keys", "create", "--name", name, *options, "--json"))
    return str(made["key"])


def _pod_networks(kubectl: Kubectl) -> str:
    """Where the ingress controller's pods are, for Helm's ``--set``."""
    return "\\,".join(node["spec"]["podCIDR"] for node in kubectl.items("nodes"))


def _await_route(clients: Kubectl, release: Release) -> None:
    """Wait until the ingress knows the release."""

    def first_status() -> int:
        (answer,) = _Client(clients, release, "first", "GET", "/readyz", pause=0, seconds=0).answers()
        return answer.status

    wait_until(lambda: first_status() == 200, timeout_seconds=60, interval_seconds=1)
