"""Commands with a time limit; one that fails says what it printed."""

import subprocess
from collections.abc import Mapping, Sequence

__all__ = ["CommandFailed", "run"]


class CommandFailed(Exception):
    """A command failed or took too long."""


def run(
    command: Sequence[str],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout_seconds: float = 60,
) -> str:
    """What the command printed.

    Raises
    ------
    CommandFailed
        It failed, or took longer than allowed.
    """
    try:
        done = subprocess.run(
            command, input=stdin, env=env, timeout=timeout_seconds, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{' '.join(command)}: still running after {timeout_seconds} s") from error
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
