"""``python -m benchmarks [NAME ...] [--quick] [--write]``: run all benchmarks, or those named, one after another."""

import argparse
import subprocess
import sys
from pathlib import Path

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__main__")


def main() -> int:
    """Run them; 1 when one missed a target or failed."""
    parser = argparse.ArgumentParser(prog="benchmarks")
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="which; none: all")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    flags = [f"--{name}" for name in ("quick", "write") if getattr(chosen, name)]
    names = chosen.names or NAMES
    ended = [subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *flags], check=False) for name in names]
    return int(any(process.returncode for process in ended))


if __name__ == "__main__":
    sys.exit(main())
