"""The incidents of docs/operations.md happen as the page says: its commands, typed in section by section."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documented import blocks, section, typed_in
from tests.support.servers import Process, free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()

_START_SECONDS = 120
_INCIDENT_SECONDS = 180

_INCIDENTS = {
    "1. Questions fail": (
        r"code attempts_exhausted, job job_",
        r"(?s)dependency_unavailable.*attempt=3",
        r'ragline_dependency_calls_total\{dependency="chat",.*outcome="transient"\}',
    ),
    "2. Documents are not searchable": (
        r"waits on queue vectorstore for step index",
        r"none: nobody takes what waits",
        r"vectorstore: 1 queued \+ 0 in flight = 1, and no worker is alive",
        r"queue wait worker-vectorstore .*█+.* \d+(\.\d+)? s +queue=vectorstore",
    ),
    "3. Work is begun again and again": (
        r"worker lost in a step.*attempt=1",
        r"(?s)index .*lease_lost.*attempt=1.*index .*attempt=2",
        r"lost: consistent",
    ),
}
"""Each section, and what its commands must have printed."""


class Drill:
    """A service that is started as the page says, in a folder and on ports of the test's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        ports = {f"{part}_PORT": str(free_port()) for part in ("API", "REDIS", "CHROMA", "OBSERVER")}
        self._api = f"localhost:{ports['API_PORT']}"
        self._env = {**os.environ, **ports, "DATA_DIR": str(folder / "storage"), "COLUMNS": "150"}
        [start] = _commands("Before")
        self._service = Process(["bash", "-c", f"exec env {start}"], log=folder / "up.txt", env=self._env)

    def ready(self) -> None:
        """Return when the service is."""
        self._service.wait_ready(
            lambda: "Ragline is ready" in self._service.log.read_text(), timeout_seconds=_START_SECONDS
        )

    def stop(self) -> None:
        """End it; its parts end with it."""
        self._service.stop(60)

    def type_in(self, text: str) -> str:
        """What a section's commands print, in one shell."""
        here = text.replace("localhost:8000", self._api).replace("storage/", f"{self._folder}/storage/")
        return typed_in(here, folder=ROOT, env=self._env, timeout_seconds=_INCIDENT_SECONDS)


def _commands(title: str) -> list[str]:
    return [text for language, text in blocks(section(PAGE, title)) if language == "bash"]


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    """The service of the page."""
    missing = [name for name in ("bash", "curl", "pkill") if shutil.which(name) is None]
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"the drill needs {', '.join(missing)}")
    drill = Drill(tmp_path)
    try:
        drill.ready()
        yield drill
    finally:
        drill.stop()


def test_every_incident_of_the_page_is_tried() -> None:
    assert re.findall(r"^## (\d\. .*)$", PAGE, re.MULTILINE) == list(_INCIDENTS)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_incidents_are_told_as_the_page_says(drill: Drill) -> None:
    for title, expected in _INCIDENTS.items():
        said = drill.type_in("\n".join(_commands(title)))
        assert [pattern for pattern in expected if not re.search(pattern, said)] == [], said
