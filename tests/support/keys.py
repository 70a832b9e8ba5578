"""API keys of a running service, made as an operator makes them."""

import json
import subprocess
from typing import Any

import httpx2

from tests.support.servers import python
from tests.support.stack import Stack

__all__ = ["client_of", "made_key", "ragline"]

_START = "import sys; from ragline.cli.main import app; app(sys.argv[1:])"


def client_of(stack: Stack, key: str) -> httpx2.Client:
    """A client that sends this key; to be closed."""
    return httpx2.Client(base_url=stack.client.base_url, headers={"X-API-Key": key}, timeout=70)


def made_key(stack: Stack, *, tenant: str, **options: str) -> dict[str, Any]:
    """What `ragline keys create --json` printed: the key under `key`."""
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    key: dict[str, Any] = json.loads(
        ragline(stack, "keys", "create", "--name", f"of {tenant}", "--tenant", tenant, *words, "--json")
    )
    return key


def ragline(stack: Stack, *words: str) -> str:
    """What the command line printed."""
    ended = subprocess.run(
        python("-c", _START, *words),
        cwd=stack.folder,
        env=stack.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return ended.stdout
