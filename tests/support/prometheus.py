"""A real Prometheus with our rules, in a hurry, and a page of what only a cluster could show it."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest
import yaml
from typing_extensions import override

from tests.support.servers import Process, free_port

__all__ = ["Exporter", "Prometheus", "Target", "exporter", "prometheus_binary", "prometheus_server"]

_START_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is scraped: an address, the labels that its series get, and whether labels of its own win over them."""

    address: str
    path: str = "/metrics"
    labels: Mapping[str, str] = field(default_factory=dict)
    own_labels_win: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """The running server."""

    url: str

    def firing(self) -> set[tuple[str, str]]:
        """Name and severity of each alert that fires."""
        return {(alert["labels"]["alertname"], alert["labels"]["severity"]) for alert in self.alerts("firing")}

    def alerts(self, state: str) -> list[dict[str, Any]]:
        """Alerts in a state, with their labels and annotations."""
        found = self._get("alerts")["alerts"]
        return [alert for alert in found if alert["state"] == state]

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series of an expression now."""
        result: list[dict[str, Any]] = self._get("query", query=expr)["result"]
        return result

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        reply = httpx2.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10)
        assert reply.is_success, reply.text
        data: dict[str, Any] = reply.json()["data"]
        return data


@dataclass(kw_only=True)
class Exporter:
    """A page of samples by path; each sample is a line of the text format by what stands in front of its value."""

    address: str = ""
    pages: dict[str, dict[str, float]] = field(default_factory=dict)


def prometheus_binary() -> str:
    """Path of a Prometheus: from PATH, or the one that `make prometheus` has unpacked; skips without one."""
    unpacked = Path(sys.executable).parents[1] / "prometheus" / "usr" / "bin" / "prometheus"
    found = shutil.which("prometheus") or shutil.which(unpacked)
    if found:
        return found
    if os.environ.get("CI"):
        pytest.fail("There is no prometheus here, and CI must have it: `make prometheus` unpacks Debian's.")
    pytest.skip("there is no prometheus here")


@contextmanager
def prometheus_server(
    folder: Path, targets: Sequence[Target], *, rules: str = "", interval_seconds: float = 15
) -> Iterator[Prometheus]:
    """Start one that scrapes these targets and evaluates these rules.

    Parameters
    ----------
    rules
        Text of a rules file.
    interval_seconds
        Between two scrapes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules.yaml").write_text(rules or "groups: []\n", encoding="utf-8")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(_config(targets, interval_seconds)), encoding="utf-8")
    port = free_port()
    argv = [prometheus_binary(), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    process = Process([*argv, f"--web.listen-address=127.0.0.1:{port}"], log=folder / "prometheus.log")
    try:
        url = f"http://127.0.0.1:{port}"
        process.wait_ready(lambda: _answers(f"{url}/-/ready"), timeout_seconds=_START_SECONDS)
        yield Prometheus(url=url)
    finally:
        process.stop()


@contextmanager
def exporter() -> Iterator[Exporter]:
    """Serve pages of samples that a test sets."""
    state = Exporter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            lines = [f"{series} {value}" for series, value in state.pages.get(self.path, {}).items()]
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write("".join(f"{line}\n" for line in lines).encode())

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.address = f"127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, name="exporter", daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


def _config(targets: Sequence[Target], interval_seconds: float) -> dict[str, Any]:
    interval = f"{round(interval_seconds * 1000)}ms"
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {
                "job_name": f"job-{place}" if place else "ragline-api",
                "metrics_path": target.path,
                "honor_labels": target.own_labels_win,
                "static_configs": [{"targets": [target.address], "labels": dict(target.labels)}],
            }
            for place, target in enumerate(targets)
        ],
    }


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=1).is_success
    except httpx2.HTTPError:
        return False
