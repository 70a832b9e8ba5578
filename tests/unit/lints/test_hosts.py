"""Nothing that is committed names a package registry or a path of somebody's machine."""

import re

import pytest

from tests.unit.lints.sources import ROOT, relative, text_files

# Spelled so that neither the pattern nor the samples below are what they look for.
REGISTRY = re.compile(r"https?://(?:[^\s/]*(?:py[p]i|python[h]osted)|\S+/simple\b)")
PY, SIMPLE = "py", "simple"

INDEX_IN_A_LOCK = re.compile(
    r"://|^\s*(?:-i|-f|--index-url|--extra-index-url|--find-links|--trusted-host)\b", re.MULTILINE
)

MACHINE_PATH = re.compile(r"(?<![\w.~})-])/(?:root|home|tmp|Users)/")

# In a container these paths are the container's own.
CONTAINERS = ("charts/", "k8s/", "e2e/", "Dockerfile")


def problems(path: str, text: str) -> list[str]:
    """Which lines of a file name what they must not, and why."""
    checks = {"names a package registry": REGISTRY}
    if path.startswith("requirements/") and path.endswith(".txt"):
        checks["names an address"] = INDEX_IN_A_LOCK
    if not path.startswith(CONTAINERS) and not _is_fixture(path):
        checks["holds a path of one machine"] = MACHINE_PATH
    return [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1} {reason}"
        for reason, pattern in checks.items()
        for match in pattern.finditer(text)
    ]


def _is_fixture(path: str) -> bool:
    """A test may try such a path on the code, which must refuse it."""
    return path.startswith("tests/") and ("/data/" in path or path.rpartition("/")[2].startswith("test_"))


def test_no_file_names_a_registry_or_a_machine() -> None:
    files = {relative(path): text for path, text in text_files(ROOT)}
    assert {"pyproject.toml", "requirements/dev.txt", "services/ragline/common/config.py"} <= files.keys()
    assert [problem for path, text in files.items() for problem in problems(path, text)] == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("requirements/dev.txt", "--index-url x"),
        ("requirements/dev.txt", "a==1\n--extra-index-url x"),
        ("requirements/dev.txt", "-f wheels"),
        ("requirements/dev.txt", "# https://example.org"),
        ("README.md", f"see https://{PY}pi.org/project/x"),
        ("Makefile", f"pip install https://files.{PY}thonhosted.org/x.whl"),
        ("Dockerfile.api", f"RUN pip install --index-url http://mirror.example.org:8080/root/{SIMPLE} x"),
        ("services/a.py", 'open("/home/me/x")'),
        ("docs/a.md", "cd /root/ragline"),
        ("tests/support/a.py", 'Path("/tmp/x")'),
    ],
)
def test_bad_text_is_found(path: str, text: str) -> None:
    assert len(problems(path, text)) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("requirements/dev.txt", "a==1 \\\n    --hash=sha256:00"),
        ("docs/a.md", "https://example.org/docs and https://example.org/root/home"),
        ("services/a.py", '"file:///app/storage/objects"; "~/tmp/x"'),
        ("charts/ragline/templates/api.yaml", "mountPath: /tmp/"),
        ("tests/unit/api/test_uploads.py", '"/root/secret.pdf"'),
    ],
)
def test_good_text_passes(path: str, text: str) -> None:
    assert problems(path, text) == []
