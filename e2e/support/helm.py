"""Helm on the chart of this repository."""

import re
from dataclasses import dataclass
from pathlib import Path

from e2e.support.commands import run

__all__ = ["Helm"]

_ROOT = Path(__file__).resolve().parents[2]
_CHART = _ROOT / "charts/ragline"
_API_VERSIONS = ("keda.sh/v1alpha1", "traefik.io/v1alpha1")
_VALUES = (_CHART / "values-ci.yaml", _ROOT / "e2e/values.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Helm:
    """One release of the chart.

    Attributes
    ----------
    settings
        ``name=value`` for ``--set``, over the values of CI and of these tests.
    chart
        Folder or package.
    """

    context: str
    namespace: str
    release: str
    settings: tuple[str, ...] = ()
    chart: Path = _CHART

    def images(self) -> list[str]:
        """All images that the release runs."""
        known = [word for version in _API_VERSIONS for word in ("--api-versions", version)]
        manifests = self._run("template", *self._chart(), *known)
        return sorted(set(re.findall(r"\bimage: \"?([^\s\"]+)", manifests)))

    def install(self) -> None:
        """Install or upgrade; waits for nothing."""
        self._run("upgrade", *self._chart(), "--install", timeout_seconds=120)

    def package(self, version: str, folder: Path) -> Path:
        """Package the chart under another version."""
        run(["helm", "package", str(self.chart), "--version", version, "--destination", str(folder)])
        return folder / f"ragline-{version}.tgz"

    def rollback(self) -> None:
        """Go back to the revision before; waits for nothing."""
        self._run("rollback", self.release, timeout_seconds=120)

    def test(self, *, timeout_seconds: int) -> str:
        """Run the chart's tests.

        Returns
        -------
        str
            What their pods printed.
        """
        limit = f"{timeout_seconds}s"
        return self._run("test", self.release, "--logs", "--timeout", limit, timeout_seconds=timeout_seconds + 10)

    def uninstall(self) -> None:
        """Take the release away and wait until its objects are gone."""
        self._run("uninstall", self.release, "--wait", "--timeout", "120s", timeout_seconds=130)

    def _chart(self) -> list[str]:
        values = [word for path in _VALUES for word in ("--values", str(path))]
        settings = [word for setting in self.settings for word in ("--set", setting)]
        return [self.release, str(self.chart), *values, *settings]

    def _run(self, *arguments: str, timeout_seconds: float = 60) -> str:
        place = ["--kube-context", self.context, "--namespace", self.namespace]
        return run(["helm", *arguments, *place], timeout_seconds=timeout_seconds)
