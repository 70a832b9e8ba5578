"""A kubectl that answers from files: ``get KIND`` prints ``KIND.json``, or fails as ``KIND.error`` says."""

import stat
from pathlib import Path

__all__ = ["install_kubectl"]

_SCRIPT = """#!/bin/sh
echo "$*" >> '{folder}/asked'
while [ "$1" != get ]; do shift; done
if [ -e "{folder}/$2.error" ]; then
  /bin/cat "{folder}/$2.error" >&2
  exit 1
fi
exec /bin/cat "{folder}/$2.json"
"""


def install_kubectl(folder: Path) -> Path:
    """A folder for PATH with a kubectl in it that reads its answers from `folder` and notes there what it was asked."""
    programs = folder / "bin"
    programs.mkdir()
    script = programs / "kubectl"
    script.write_text(_SCRIPT.format(folder=folder))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return programs
