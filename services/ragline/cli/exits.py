"""How a command ends: its exit status, and what it prints for programs or about a failure."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text

from ragline.cli.failures import ApiFailure, ApiUnreachable, CannotStart
from ragline.common.config import ConfigError
from ragline.common.errors import ClientError, DependencyError

__all__ = ["EXIT_FAILED", "plain_failures", "print_json"]

EXIT_FAILED = 1
_EXIT_WRONG_SETTINGS = 2
_EXIT_UNREACHABLE = 3


@contextmanager
def plain_failures() -> Iterator[None]:
    """Turn what may go wrong into a sentence and an exit status."""
    try:
        yield
    except (ApiUnreachable, DependencyError) as failure:
        _fail(failure, _EXIT_UNREACHABLE)
    except ConfigError as failure:
        _fail(failure, _EXIT_WRONG_SETTINGS)
    except (ApiFailure, CannotStart, ClientError) as failure:
        _fail(failure, EXIT_FAILED)


def print_json(reply: object) -> None:
    """Print it for programs."""
    typer.echo(json.dumps(reply, indent=2, ensure_ascii=False))


def _fail(failure: Exception, exit_status: int) -> NoReturn:
    Console(stderr=True).print(Text(str(failure), "bold red"), soft_wrap=True)
    raise typer.Exit(exit_status) from failure
