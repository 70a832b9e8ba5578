"""The README's commands for a cluster and those of the guides, as they stand there, in their order."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.support.cluster import kind_name
from e2e.support.figures import Figures
from e2e.support.release import Release, namespace
from tests.support.documented import blocks, commands, section, typed_in

_ROOT = Path(__file__).resolve().parents[1]
_GUIDES = ("production-deployment", "queue-system-guide", "troubleshooting")
_DONE_BEFORE = ("make install", "make images", "kind create cluster")
"""The environment, the images and the cluster are what these tests run on."""

_COMMAND_SECONDS = 300


class Shell:
    """A shell in the root of the repository whose tools look at the tests' cluster."""

    def __init__(self, context: str, folder: Path) -> None:
        config = folder / "kubeconfig"
        view = ["kubectl", "config", "view", "--context", context, "--minify", "--flatten"]
        config.write_bytes(subprocess.run(view, check=True, capture_output=True).stdout)
        name = kind_name(context)
        self._env = {**os.environ, "KUBECONFIG": str(config), "KIND_CLUSTER_NAME": name, "COLUMNS": "150"}

    def run(self, text: str) -> str:
        """What a command or a block of them printed; it has to end well."""
        print(f"$ {text.strip()}")
        said = typed_in(text, folder=_ROOT, env=self._env, timeout_seconds=_COMMAND_SECONDS)
        print(said)
        return said


@pytest.fixture
def shell(cluster: str, tmp_path: Path) -> Iterator[Shell]:
    """A shell, and an empty namespace `ragline`."""
    if not kind_name(cluster):
        pytest.skip("the README makes a kind cluster, and this is another one")
    with namespace(cluster, "ragline") as kubectl:
        Release(kubectl).load_images()
        yield Shell(cluster, tmp_path)


@pytest.mark.timeout(1200)
def test_docs_readme_and_guides(shell: Shell, figure: Figures) -> None:
    readme = section((_ROOT / "README.md").read_text(encoding="utf-8"), "On Kubernetes")
    typed = [command for command in commands(readme) if not command.startswith(_DONE_BEFORE)]
    assert len(typed) > 5
    said = "".join(shell.run(command) for command in typed)
    assert "first citation: lighthouse.pdf, page 2" in said
    assert "[1] device-manual.pdf, page 11: " in said

    pages = [(_ROOT / f"docs/{name}.md").read_text(encoding="utf-8") for name in _GUIDES]
    found = [text for page in pages for language, text in blocks(page) if language == "bash"]
    assert len(found) > 15
    for text in found:
        shell.run(text)
    figure("commands of the README's section, and blocks of the guides", len(typed) + len(found), "")
