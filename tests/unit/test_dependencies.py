"""`pyproject.toml`, the locks and `docs/dependencies.md` tell the same story; nothing here needs a network."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

LOCKS = {
    "api": {"extras": ["api", "cli"], "groups": []},
    "worker": {"extras": ["worker", "local-embedder", "openai", "chroma-client"], "groups": []},
    "graph-builder": {"extras": ["graph-builder"], "groups": []},
    "laptop": {"extras": ["laptop"], "groups": ["build"]},
    "dev": {"extras": ["laptop"], "groups": ["dev"]},
}

LOCKS_OF_GROUPS = {"build": "build", "checkov": "checkov", "models": "models", "pictures": "pictures"}


def _extra(name: str) -> list[Requirement]:
    """The requirements of an extra; one that names extras of ours stands for theirs."""
    found = []
    for requirement in map(Requirement, PYPROJECT["project"]["optional-dependencies"][name]):
        ours = canonicalize_name(requirement.name) == PYPROJECT["project"]["name"]
        found += [inner for extra in sorted(requirement.extras) for inner in _extra(extra)] if ours else [requirement]
    return found


def _group(name: str) -> list[Requirement]:
    found = []
    for entry in PYPROJECT["dependency-groups"][name]:
        found += _group(entry["include-group"]) if isinstance(entry, dict) else [Requirement(entry)]
    return found


def _base() -> list[Requirement]:
    return [Requirement(text) for text in PYPROJECT["project"]["dependencies"]]


def _direct() -> dict[str, list[Requirement]]:
    requirements = _base()
    for extra in PYPROJECT["project"]["optional-dependencies"]:
        requirements += _extra(extra)
    for group in PYPROJECT["dependency-groups"]:
        requirements += _group(group)
    direct: dict[str, list[Requirement]] = {}
    for requirement in requirements:
        direct.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return direct


def _pins(lock: str) -> dict[str, set[str]]:
    """Versions by package; two where the markers of a lock choose between them."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    pins: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9.-]+)==([^\s;]+)", text, re.MULTILINE):
        pins.setdefault(name, set()).add(version)
    assert pins
    return pins


def _unmet(requirements: list[Requirement], lock: str) -> list[str]:
    pins = _pins(lock)
    return [
        str(requirement)
        for requirement in requirements
        if not pins.get(canonicalize_name(requirement.name))
        or not all(requirement.specifier.contains(version) for version in pins[canonicalize_name(requirement.name)])
    ]


def _rows() -> dict[str, list[str]]:
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")
    ]
    assert rows
    assert len(rows) == len({row[0] for row in rows})
    return {row[0].strip("`"): row[1:] for row in rows}


def test_every_direct_dependency_has_a_row_and_no_other() -> None:
    assert _rows().keys() == _direct().keys()


def test_every_row_is_complete() -> None:
    for name, row in _rows().items():
        assert len(row) == len(("version", "licence", "role", "why")), name
        assert all(row), name


def test_versions_of_the_page_are_those_of_the_locks() -> None:
    pins: dict[str, set[str]] = {}
    for lock in (*LOCKS, *LOCKS_OF_GROUPS):
        for name, versions in _pins(lock).items():
            pins.setdefault(name, set()).update(versions)
    assert {name: set(row[0].split(", ")) for name, row in _rows().items()} == {name: pins[name] for name in _rows()}


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_holds_what_pyproject_asks_for(lock: str) -> None:
    requirements = _base()
    requirements += [requirement for extra in LOCKS[lock]["extras"] for requirement in _extra(extra)]
    requirements += [requirement for group in LOCKS[lock]["groups"] for requirement in _group(group)]
    assert _unmet(requirements, lock) == []


@pytest.mark.parametrize("lock", LOCKS_OF_GROUPS)
def test_lock_of_a_group_holds_that_group(lock: str) -> None:
    assert _unmet(_group(LOCKS_OF_GROUPS[lock]), lock) == []


def test_the_python_clients_needs_are_met_where_it_is_tested() -> None:
    client = tomllib.loads((ROOT / "clients" / "python" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [*client["dependencies"], *(text for extra in client["optional-dependencies"].values() for text in extra)]
    assert needed
    assert _unmet([Requirement(text) for text in needed], "dev") == []


@pytest.mark.parametrize("lock", ["api", "worker"])
def test_an_image_holds_neither_build_tools_nor_weights(lock: str) -> None:
    unwanted = _extra("graph-builder") + _group("build") + _group("models")
    wanted = {canonicalize_name(requirement.name) for requirement in _base() + _extra(lock)}
    assert _pins(lock).keys() & {canonicalize_name(requirement.name) for requirement in unwanted} <= wanted


@pytest.mark.parametrize("lock", ["api", "worker", "graph-builder", "build", "laptop"])
def test_what_is_shipped_is_what_is_tested(lock: str) -> None:
    """A package has the same version in every lock; only `chromadb-client` is `chromadb` under another name."""
    tested = _pins("dev")
    different = {name for name, versions in _pins(lock).items() if tested.get(name) != versions}
    assert different <= {"chromadb-client"}


@pytest.mark.parametrize("lock", [*LOCKS, *LOCKS_OF_GROUPS])
def test_every_pin_has_hashes(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8").replace("\\\n", "")
    pins = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert pins
    assert [line for line in pins if "==" not in line or "--hash=sha256:" not in line] == []
