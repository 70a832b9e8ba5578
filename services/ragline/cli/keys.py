"""`ragline keys`: the API keys that are kept in Redis."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ragline.cli.exits import plain_failures, print_json
from ragline.cli.failures import ApiUnreachable
from ragline.cli.options import AsJson, local_service
from ragline.common.access import Scope
from ragline.common.config import BaseConfig, load_config
from ragline.common.constants import BROKER_TIMEOUT_SECONDS, DEFAULT_TENANT
from ragline.common.errors import TransientError
from ragline.common.redis_address import RedisAddress
from ragline.stores.api_keys import ApiKeyAdministration, StoredKey
from ragline.stores.redis_connection import redis_client

__all__ = ["app", "duration"]

app = typer.Typer(
    no_args_is_help=True,
    help="API keys: make, list, revoke and rotate them. They count where ENABLE_AUTH is true.",
)

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_PIPE_COLUMNS = 200
"""Width of the table where there is no terminal, as in `kubectl exec`: an id that is cut is of no use."""

_STYLES = {"active": "green", "expired": "yellow", "revoked": "red"}


def duration(text: str) -> timedelta:
    """``90d``, ``24h``, ``30m`` or ``10s``."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if found is None:
        msg = f"{text} is not a number with a unit: 90d, 24h, 30m or 10s"
        raise typer.BadParameter(msg)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


_KeyId = Annotated[str, typer.Argument(metavar="ID", help="key_..., as `ragline keys list` shows it")]
_PerMinute = typer.Option(min=0, help="Its own limit; 0: none; default: the service's", show_default=False)


@app.command()
def create(
    *,
    name: Annotated[str, typer.Option(help="Whom or what the key is for")],
    tenant: Annotated[str, typer.Option(help="Whose documents it reaches")] = DEFAULT_TENANT,
    scope: Annotated[
        list[Scope] | None, typer.Option(help="May be given several times; default: all but admin")
    ] = None,
    expires_in: Annotated[
        timedelta | None, typer.Option(parser=duration, metavar="90d", help="Lifetime; default: for ever")
    ] = None,
    general_per_minute: Annotated[int | None, _PerMinute] = None,
    rag_per_minute: Annotated[int | None, _PerMinute] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once."""
    scopes = frozenset(scope or {Scope.INGEST, Scope.QUERY, Scope.READ})
    given = {"general_per_minute": general_per_minute, "rag_per_minute": rag_per_minute}
    limits = {limit: value for limit, value in given.items() if value is not None}
    with _administration() as keys:
        made = keys.create(name=name, tenant=tenant, scopes=scopes, lifetime=expires_in, limits=limits)
    _show(*made, as_json=as_json)


@app.command("list")
def list_keys(*, as_json: AsJson = False) -> None:
    """Show all keys there ever were, oldest first, without what would let anybody in."""
    with _administration() as keys:
        found = keys.list()
    if as_json:
        print_json([_fields(key) for key in found])
    else:
        console = Console()
        if not console.is_terminal:
            console.width = max(console.width, _PIPE_COLUMNS)
        console.print(_table(found))


@app.command()
def revoke(key_id: _KeyId, *, as_json: AsJson = False) -> None:
    """Refuse a key from now on; the API may take five seconds to notice."""
    with _administration() as keys:
        key = keys.revoke(key_id)
    if as_json:
        print_json(_fields(key))
    else:
        typer.echo(f"{key.id} ({key.name}) is revoked.")


@app.command()
def rotate(
    key_id: _KeyId,
    *,
    overlap: Annotated[
        timedelta, typer.Option(parser=duration, metavar="24h", help="How long the old key still works")
    ] = "24h",  # type: ignore[assignment] # typer parses defaults, too
    as_json: AsJson = False,
) -> None:
    """Make a new key with the same properties and print it, this once; the old one expires after the overlap."""
    with _administration() as keys:
        made = keys.rotate(key_id, overlap=overlap)
    _show(*made, as_json=as_json)


@contextmanager
def _administration() -> Iterator[ApiKeyAdministration]:
    with plain_failures(), _reached():
        options: dict[str, Any] = {
            "decode_responses": True,
            "socket_connect_timeout": BROKER_TIMEOUT_SECONDS,
            "socket_timeout": BROKER_TIMEOUT_SECONDS,
        }
        with redis_client(_redis_address(), **options) as client:
            yield ApiKeyAdministration(client)


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except TransientError as error:
        raise ApiUnreachable(
            f"The keys are in Redis: {error}. Does it run (ragline up), is REDIS_URL right?"
        ) from error


def _redis_address() -> RedisAddress:
    """The Redis of the settings; when they name none, that of the `ragline up` which runs here."""
    config = load_config(BaseConfig)
    if "redis_url" not in config.model_fields_set:
        running = local_service()
        if running is not None:
            return RedisAddress(url=running.redis_url)
    return config.redis_server


def _show(key: StoredKey, token: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"key": token, **_fields(key)})
        return
    typer.echo(token)
    typer.echo(f"This is the key {key.id} ({key.name}). Copy it now: it will not be shown again.", err=True)


def _fields(key: StoredKey) -> dict[str, Any]:
    times = {name: _time(getattr(key, name)) for name in ("created_at", "expires_at", "revoked_at")}
    return {**asdict(key), **times, "scopes": sorted(key.scopes), "state": key.state(time.time())}


def _time(seconds: int) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else None


def _table(keys: list[StoredKey]) -> Table:
    table = Table("id", "name", "tenant", "scopes", "begins", "created", "expires", "per minute", "state")
    for key in keys:
        limits = ["-" if limit is None else str(limit) for limit in (key.general_per_minute, key.rag_per_minute)]
        dates = [(_time(seconds) or "never")[:10] for seconds in (key.created_at, key.expires_at)]
        state = key.state(time.time())
        words = (key.id, key.name, key.tenant, " ".join(sorted(key.scopes)), key.prefix, *dates, " / ".join(limits))
        table.add_row(*map(Text, words), Text(state, _STYLES[state]))
    return table
