"""The default install, whole: a change of a template shows as a diff of a file."""

from pathlib import Path

import pytest

from tests.support.chart import CHART, KEDA, KUBE_VERSION, NAMESPACE, Object, by_kind, render, run_helm, strict_load

GOLDEN = Path(__file__).with_name("golden") / "default.yaml"


def _default(secrets: list[str]) -> str:
    arguments = ["--namespace", NAMESPACE, "--kube-version", KUBE_VERSION, "--api-versions", *KEDA]
    text = run_helm("template", "ragline", str(CHART), *arguments)
    lines = text.splitlines(keepends=True)
    return "".join(_masked(line) if line.split(":")[0].strip() in secrets else line for line in lines)


def _masked(line: str) -> str:
    """A password is another one at each render."""
    name, separator, value = line.partition(": ")
    return f'{name}{separator}"masked"\n' if value.startswith('"') else line


def test_default_install(request: pytest.FixtureRequest) -> None:
    secrets = [key for secret in by_kind(render(), "Secret") for key in secret["stringData"]]
    assert secrets
    found = _default(secrets)
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(found, encoding="utf-8")
    # Helm 3 leaves other lines empty.
    assert _by_name(found) == _by_name(GOLDEN.read_text(encoding="utf-8")), (
        "Review the diff after `pytest tests/chart --update-golden`."
    )


def _by_name(text: str) -> dict[str, Object]:
    objects = {f"{found['kind']}/{found['metadata']['name']}": found for found in strict_load(text)}
    assert objects
    return objects
