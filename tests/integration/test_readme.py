"""Every command of the README, typed in as it stands there, in its order.

Only what would collide with the reader's own things is changed: ports, and the folder `storage`. What stands for a
task's id becomes that of the last reply.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ragline.cli.supervisor.data_folder import announced_service
from tests.support.documented import blocks, commands, typed_in, without_section
from tests.support.servers import free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]

_START_SECONDS = 120
_STOP_SECONDS = 60
_COMMAND_SECONDS = 90

_SAYS = {
    r"make quickstart EXIT=1": r"employee-handbook\.pdf, page 19(?s:.*)The first citation is the right page",
    r"make help": r"(?m)^ +quickstart +\S(?s:.*)^ +test +Run everything that CI runs$",
    r"ragline ingest": r"device-manual\.pdf +\S* *indexed(?s:.*)annual-report\.pdf +\S* *indexed",
    r"ragline ask": r"\[1\] device-manual\.pdf, page 11: ",
    r"ragline verify": r"papers: consistent",
    r"ragline keys": r"^rk_[\w-]{43}\n",
    r"curl .*-F file=": r'"job_id":"job_(?s:.*)\n202$',
    r"curl -sS \S+/documents$": r'"name":"employee-handbook\.pdf"(?s:.*)\n200$',
    r"curl .*/queries": r'26 weeks(?s:.*)"page":19\D(?s:.*)\n200$',
    r"curl .*/tasks/(calculate|workflow)": r'"task_id":"job_\w+"(?s:.*)\n200$',
    r"curl .*/tasks/info": r'"create_vectorstore_task"(?s:.*)\n200$',
    r"curl .*/tasks/status": r'"status":"Completed","result":20(?s:.*)\n200$',
    r"curl .*/rag/pipeline": r'"load_pdf_task":"job_\w+\.convert"(?s:.*)\n200$',
    r"curl .*/rag/query/sync": r'"answer":"[^"]*three years(?s:.*)"page":11\D(?s:.*)\n200$',
}
"""What a command's output has to match."""


@dataclass(frozen=True)
class LongRun:
    """A command that goes on until Ctrl-C, in a process group of its own."""

    process: subprocess.Popen[bytes]
    console: Path

    def wait_for(self, words: str) -> None:
        def said_or_ended() -> bool:
            return words in self.console.read_text() or self.process.poll() is not None

        wait_until(said_or_ended, timeout_seconds=_START_SECONDS)
        assert words in self.console.read_text(), self.console.read_text()

    def interrupt(self) -> None:
        """Ctrl-C: the terminal sends it to the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(_STOP_SECONDS)

    def kill(self) -> None:
        """Leave nothing behind, whatever happened; the parts end with their supervisor."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Reader:
    """Somebody who follows the README.

    Parameters
    ----------
    folder
        Where `storage` is, and what the commands say.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data_dir = folder / "storage"
        self._api = f"localhost:{free_port()}"
        ports = {"REDIS_PORT": free_port(), "CHROMA_PORT": free_port(), "FLOWER_PORT": free_port()}
        self._env = {
            **os.environ,
            **{name: str(port) for name, port in ports.items()},
            "API_PORT": self._api.rpartition(":")[2],
            "DATA_DIR": str(self._data_dir),
            "UPLOAD_ROOT": str(self._data_dir / "uploads"),
            "COLUMNS": "150",
            # Set for the `make` that runs this test; they are not for the one that is tested.
            "MAKEFLAGS": "",
            "MAKELEVEL": "",
        }
        self._runs: list[LongRun] = []
        self._task = ""

    def leave(self) -> None:
        """Stop what still runs."""
        for run in self._runs:
            run.kill()

    def type_in(self, command: str) -> None:
        """Run a command, and check that it says what it should."""
        way = way_to_run(command)
        assert way is not None, f"the README's command has no way to be run: {command}"
        way(self, command)

    def up(self, command: str) -> None:
        """Start the service that the commands after this one use."""
        self._start(command).wait_for("Ragline is ready")

    def quickstart(self, command: str) -> None:
        """Start, read the answer, end."""
        run = self._start(command)
        run.wait_for("The first citation is the right page")
        assert "employee-handbook.pdf, page 19" in run.console.read_text()
        run.interrupt()
        assert announced_service(self._data_dir) is None, run.console.read_text()

    def run(self, command: str) -> None:
        """Run to the end; what was accepted is waited for, so that the next command finds it."""
        # `-w` adds the status as a last line.
        text = command.replace("localhost:8000", self._api).replace("TASK_ID", self._task)
        text = text.replace("curl -sS", "curl -sS -w '\\n%{http_code}'")
        text = re.sub(r"(?<![\w/.-])storage/", f"{self._data_dir}/", text)
        said = typed_in(text, folder=ROOT, env=self._env, timeout_seconds=_COMMAND_SECONDS)
        for pattern in (pattern for called, pattern in _SAYS.items() if re.search(called, command)):
            assert re.search(pattern, said), f"{command}\n{said}"
        if command.startswith("curl"):
            self._finish(json.loads(said.rpartition("\n")[0]))

    def make_env(self, command: str) -> None:
        """In a copy, since it would change the checkout."""
        scratch = self._folder / "checkout"
        scratch.mkdir()
        for name in ("Makefile", ".env.example"):
            shutil.copy(ROOT / name, scratch)
        subprocess.run(command.split(), cwd=scratch, env=self._env, check=True, stdout=subprocess.DEVNULL)
        assert (scratch / ".env").read_text() == (ROOT / ".env.example").read_text()

    def make_test(self, command: str) -> None:
        """It is what runs this test: only look that it is there."""
        target = command.removeprefix("make ")
        assert re.search(rf"^{target}:.* ## ", (ROOT / "Makefile").read_text(), re.MULTILINE)

    def _finish(self, reply: dict[str, Any]) -> None:
        self._task = reply.get("task_id", self._task)
        for name, path, good, bad in (
            ("job_id", "/v1/jobs", "succeeded", "failed"),
            ("task_id", "/tasks/status", "Completed", "Failed"),
        ):
            if name in reply and "answer" not in reply:
                address = f"http://{self._api}{path}/{reply[name]}"
                status = ""

                def ended(address: str = address, final: tuple[str, str] = (good, bad)) -> bool:
                    nonlocal status
                    status = httpx2.get(address).json()["status"]
                    return status in final

                wait_until(ended, timeout_seconds=_COMMAND_SECONDS)
                assert status == good, httpx2.get(address).text

    def _start(self, command: str) -> LongRun:
        console = self._folder / f"{len(self._runs)}.txt"
        with console.open("wb") as output:
            process = subprocess.Popen(
                command.split(),
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._runs.append(LongRun(process, console))
        return self._runs[-1]


_WAYS: dict[str, Callable[[Reader, str], None]] = {
    r"make quickstart": Reader.quickstart,
    r"make up": Reader.up,
    r"make env": Reader.make_env,
    r"make test": Reader.make_test,
    r"make (quickstart EXIT=1|help)": Reader.run,
    r"\.venv/bin/ragline (ingest|ask|verify|keys create) .+": Reader.run,
    r"curl -sS [^|>]+": Reader.run,
    r"mkdir -p storage/uploads && cp samples/\S+ storage/uploads/\S+": Reader.run,
}


def way_to_run(command: str) -> Callable[[Reader, str], None] | None:
    """How a command of the README is run here."""
    return next((way for pattern, way in _WAYS.items() if re.fullmatch(pattern, command)), None)


def commands_here() -> list[str]:
    """The README's commands, without those for a cluster: e2e/test_documentation.py runs them."""
    readme = without_section((ROOT / "README.md").read_text(), "On Kubernetes")
    assert {language for language, _ in blocks(readme)} <= {"", "bash"}, "a shell block is marked `bash`"
    return commands(readme)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A reader with a checkout that is installed."""
    missing = [name for name in ("bash", "curl", "make") if shutil.which(name) is None]
    missing = missing or _missing_in_checkout()
    if missing:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(f"the README's commands need {', '.join(missing)}")
    reader = Reader(tmp_path)
    yield reader
    reader.leave()


def _missing_in_checkout() -> list[str]:
    # Otherwise the first `make` would install, which is more than a test may do to a checkout.
    stamp = ["make", "--question", ".venv/.laptop-installed"]
    asked = subprocess.run(stamp, cwd=ROOT, env={**os.environ, "MAKEFLAGS": ""}, check=False, capture_output=True)
    missing = [] if asked.returncode == 0 else ["an up-to-date .venv (make install)"]
    # Its settings would count here, down to a key that costs money.
    return missing + (["a checkout without .env"] if (ROOT / ".env").exists() else [])


def test_every_command_has_a_way_to_be_run() -> None:
    found = commands_here()

    assert len(found) >= 15
    assert [command for command in found if way_to_run(command) is None] == []
    assert {"make quickstart", "make quickstart EXIT=1", "make up", "make test"} <= set(found)
    assert [called for called in _SAYS if not any(re.search(called, command) for command in found)] == []


def test_commands_are_read_whole() -> None:
    readme = "```\nnot this\n```\n```bash\n# a comment\ncurl a \\\n  -d 'b'\n\nmake up\n```\n"

    assert commands(readme) == ["curl a -d 'b'", "make up"]


@pytest.mark.parametrize("command", ["make quickstart FLOWER=1", "rm -rf storage", "curl -sS a | sh", "pip install x"])
def test_an_unknown_command_has_no_way_to_be_run(command: str) -> None:
    assert way_to_run(command) is None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_command_does_what_the_readme_says(reader: Reader) -> None:
    for command in commands_here():
        print(command)  # noqa: T201 - where it was, should it fail
        reader.type_in(command)
