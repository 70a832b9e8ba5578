"""The workflows run only on GitHub: what can be known about them without it is held here."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))

_LONGEST_MINUTES = {"e2e": 10}
"""Jobs with a limit of their own; the others may take an hour."""

_GRANTED = {
    ("release.yaml", "images"): {"attestations", "id-token", "packages"},
    ("release.yaml", "chart"): {"attestations", "id-token", "packages"},
}
"""Who may write what. A job that is not here reads the repository and nothing else."""

workflows = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def test_there_are_workflows() -> None:
    assert {path.name for path in WORKFLOWS} >= {"ci.yaml", "release.yaml"}


@workflows
def test_each_action_is_pinned_by_a_commit_and_names_its_version(path: Path) -> None:
    uses = re.findall(r"^\s*(?:- )?uses: *(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert uses
    assert [line for line in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_an_action_has_one_version() -> None:
    pins = re.findall(r"uses: ([\w./-]+)@(.*)", "\n".join(path.read_text(encoding="utf-8") for path in WORKFLOWS))
    assert len(dict(pins)) == len(set(pins))


@workflows
def test_each_make_target_exists(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    rules = re.findall(r"^([a-z][a-z0-9 -]*):(?!=)", makefile, re.MULTILINE)
    targets = {name for rule in rules for name in rule.split()}
    named = {name for run in _runs(path) for name in re.findall(r"\bmake ([a-z][a-z0-9-]*)", run)}
    assert named <= targets


@workflows
def test_each_script_exists(path: Path) -> None:
    scripts = [name for run in _runs(path) for name in re.findall(r"^\s*(\.?[\w/-]+/[\w.-]+)\b", run, re.MULTILINE)]
    assert [name for name in scripts if not (ROOT / name).is_file()] == []


@workflows
def test_each_job_has_a_time_limit(path: Path) -> None:
    jobs = _jobs(path)
    assert jobs
    for name, job in jobs.items():
        assert 0 < job.get("timeout-minutes", 0) <= _LONGEST_MINUTES.get(name, 60), name


@workflows
def test_a_job_may_write_only_what_it_publishes(path: Path) -> None:
    assert _workflow(path)["permissions"] == {"contents": "read"}
    for name, job in _jobs(path).items():
        granted = {what for what, access in job.get("permissions", {}).items() if access == "write"}
        assert granted == _GRANTED.get((path.name, name), set())


@workflows
def test_a_checkout_keeps_no_credentials(path: Path) -> None:
    checkouts = [step for step in _steps(path) if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@workflows
def test_a_failing_part_of_a_pipe_fails_the_step(path: Path) -> None:
    assert _workflow(path)["defaults"]["run"]["shell"] == "bash"


@workflows
def test_no_text_from_outside_becomes_a_command(path: Path) -> None:
    safe = r"(matrix|steps)\.[\w.-]+"
    expressions = [name for run in _runs(path) for name in re.findall(r"\$\{\{ *(.*?) *\}\}", run)]
    assert [name for name in expressions if not re.fullmatch(safe, name)] == []


@workflows
def test_a_workflow_can_be_read_in_one_go(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 150


def test_each_row_on_a_cluster_is_in_exactly_one_job() -> None:
    tests = [
        name
        for path in (ROOT / "e2e").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    ]
    matrix = _jobs(ROOT / ".github/workflows/ci.yaml")["e2e"]["strategy"]["matrix"]
    rows = [row for entry in matrix["include"] for row in entry["rows"].split(" or ")]
    assert len(tests) > 10
    assert {name: [row for row in rows if name.startswith(row)] for name in tests} == {
        name: [name[: name.index("_", len("test_")) + 1]] for name in tests
    }
    assert [row for row in rows if not any(name.startswith(row) for name in tests)] == []


def _workflow(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def _jobs(path: Path) -> dict[str, dict[str, Any]]:
    jobs: dict[str, dict[str, Any]] = _workflow(path)["jobs"]
    return jobs


def _steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in _jobs(path).values() for step in job["steps"]]


def _runs(path: Path) -> list[str]:
    return [step["run"] for step in _steps(path) if "run" in step]
