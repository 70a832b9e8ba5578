"""Options that many commands have, and the API they lead to."""

import os
from typing import Annotated

import typer

from ragline.cli.client import RaglineClient
from ragline.cli.supervisor.data_folder import RunningService, announced_service
from ragline.common.config import LocalConfig, load_config

__all__ = ["ApiUrl", "AsJson", "connect", "given_api_key", "local_service"]

ApiUrl = Annotated[
    str | None,
    typer.Option("--api-url", envvar="RAGLINE_URL", help="Address of the API; default: the one `ragline up` started"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs")]


def connect(api_url: str | None) -> RaglineClient:
    """The API at an address, or the one of this folder.

    Raises
    ------
    ConfigError
        A setting of this folder is wrong.
    """
    if api_url is None:
        running = local_service()
        api_url = running.api_url if running else f"http://127.0.0.1:{load_config(LocalConfig).api_port}"
    # From the environment only: arguments are for every user of the computer to read.
    return RaglineClient(api_url, api_key=given_api_key())


def given_api_key() -> str | None:
    """The key of whoever runs the command."""
    return os.environ.get("RAGLINE_API_KEY")


def local_service() -> RunningService | None:
    """What `ragline up` announced in this folder; a killed one may not have taken that back."""
    return announced_service(load_config(LocalConfig).data_dir)
