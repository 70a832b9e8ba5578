"""The running service does what its own OpenAPI file says, whatever it is sent."""

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.hooks import TALLY
from tests.support import pdfs
from tests.support.stack import Stack, running_stack

ROOT = Path(__file__).parents[2]
SECONDS = int(os.environ.get("FUZZ_SECONDS", "180"))
SEED = os.environ.get("FUZZ_SEED", "20250101")
KEY = "the-only-key-of-the-fuzzed-service"

_LAST_REQUESTS_SECONDS = 120


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Stack]:
    settings = {
        "API_KEYS": KEY,
        "ENABLE_AUTH": "true",
        "MAX_UPLOAD_BYTES": str(2**16),
        "QUERY_TIMEOUT_SECONDS": "10",
    }
    with running_stack(tmp_path, settings) as running:
        running.ingest("handbook", "handbook.pdf", pdfs.text_pdf(["Parental leave is 16 weeks."]))
        (tmp_path / "uploads" / "employee-handbook.pdf").write_bytes(pdfs.text_pdf(["Breaks are paid."]))
        yield running


def _fuzz(service: Stack, folder: Path) -> tuple[int, Counter[str]]:
    """The exit status of schemathesis and the number of answers by operation and status."""
    tally = folder / "tally.json"
    # It is a command, not a library, for whoever wants all of its phases.
    command = [
        *(str(ROOT / ".venv/bin/schemathesis"), "--config-file", "tests/fuzz/schemathesis.toml"),
        *("run", str(service.client.base_url.join("/openapi.json")), "--header", f"X-API-Key: {KEY}"),
        *(
            "--phases",
            "examples,coverage,fuzzing,stateful",
            "--checks",
            "all",
            "--exclude-checks",
            "positive_data_acceptance,use_after_free",
            "--mode",
            "all",
        ),
        *("--max-time", str(SECONDS), "--seed", SEED, "--generation-database", "none"),
        "--continue-on-failure",
    ]
    env = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks",
        "PYTHONPATH": f"{ROOT}:{ROOT}/services",
        TALLY: str(tally),
    }
    ended = subprocess.run(command, cwd=ROOT, env=env, check=False, timeout=SECONDS + _LAST_REQUESTS_SECONDS)
    return ended.returncode, Counter(json.loads(tally.read_text()))


@pytest.mark.timeout(SECONDS + 2 * _LAST_REQUESTS_SECONDS)
def test_the_service_is_what_it_says(service: Stack, tmp_path: Path) -> None:
    status, tally = _fuzz(service, tmp_path)
    by_status: Counter[str] = Counter()
    for answer, count in tally.items():
        by_status[answer.rpartition(" ")[2]] += count
    print(f"seed {SEED}, {tally.total()} answers in {SECONDS} s: {dict(sorted(by_status.items()))}")  # noqa: T201

    assert status == 0
    assert service.client.get("/readyz").status_code == 200
    operations = {
        f"{method.upper()} {path}"
        for path, item in service.client.get("/openapi.json").json()["paths"].items()
        for method in item
    }
    succeeded = {answer.rpartition(" ")[0] for answer in tally if re.search(r" 2\d\d$", answer)}
    assert operations - succeeded == set(), "nothing was learned of them: no request succeeded"
