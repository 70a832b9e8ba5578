"""Script that ties a process to its supervisor and then becomes the command it was given.

``python -I -S tether.py SUPERVISOR_PID COMMAND...``. A script and not a ``preexec_fn``: Python code between fork and
exec may deadlock when the supervisor has threads. It costs about 10 ms a start.
"""

import ctypes
import os
import signal
import sys

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
"""From ``linux/prctl.h``. The setting survives exec, and the kernel obeys it even when the supervisor is killed. It is
tied to the *thread* of the supervisor that started the child, so that has to be one that lives as long."""


def main(arguments: list[str]) -> None:
    """Ask for SIGKILL at the supervisor's death, then exec the command."""
    supervisor, command = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        sys.exit("The supervisor died before its child began")
    os.execvp(command[0], command)  # noqa: S606 - a list of words, no shell


if __name__ == "__main__":
    main(sys.argv[1:])
