"""A converter with small limits, and ways to watch the processes it starts."""

import sys
from collections.abc import Callable
from pathlib import Path

from ragline.pipeline.converters.pdf import Engine, PdfConverter

__all__ = ["children_of", "converter", "never", "poll"]


def children_of(pid: int | str) -> list[int]:
    """Ids of the children of a process, those included that are dead and not reaped."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text(encoding="ascii").split()]


def converter(
    engine: Engine = "pdfium",
    *,
    max_pages: int = 5000,
    max_text_bytes: int = 2**20,
    cpu_seconds: int = 2,
    document_cpu_seconds: int = 60,
    silence_seconds: float = 10.0,
) -> PdfConverter:
    """Make a converter whose limits are met soon: 256 MiB, 2 CPU-seconds per process, 1 MiB of text."""
    return PdfConverter(
        engine=engine,
        max_pages=max_pages,
        max_text_bytes=max_text_bytes,
        memory_bytes=2**28,
        cpu_seconds=cpu_seconds,
        document_cpu_seconds=document_cpu_seconds,
        silence_seconds=silence_seconds,
    )


def never() -> bool:
    """A `should_stop` that lets a run end by itself."""
    return False


def poll(action: Callable[[], None], *, stop_after: int = sys.maxsize) -> Callable[[], bool]:
    """A `should_stop` that does something to the running child each time, and stops the run in the end."""
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        action()
        return asked > stop_after

    return should_stop
