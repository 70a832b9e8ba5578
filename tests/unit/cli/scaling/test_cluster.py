import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ragline.cli.scaling.cluster import QueueInCluster, read_cluster
from ragline.cli.scaling.formula import Scaling, Workers
from ragline.cli.scaling.kubectl import ClusterUnreadable, Kubectl
from tests.support.fake_kubectl import install_kubectl

DATA = Path(__file__).parent / "data"
NOW = datetime(2026, 11, 29, 9, 0, 1, tzinfo=UTC)
SCALED, HPAS, DEPLOYMENTS, EVENTS = (
    "scaledobjects.keda.sh",
    "horizontalpodautoscalers.autoscaling",
    "deployments.apps",
    "events",
)

Edit = Callable[[list[dict[str, Any]]], None]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the answers of a kubectl on the PATH, in the shape of KEDA 2.20 and HPA v2."""
    for path in DATA.glob("*.json"):
        shutil.copy(path, tmp_path)
    monkeypatch.setenv("PATH", str(install_kubectl(tmp_path)))
    return tmp_path


def read() -> dict[str, QueueInCluster]:
    return read_cluster(Kubectl(namespace="ragline", context="kind"), release="ragline", now=NOW)


def edit(cluster: Path, kind: str, change: Edit) -> None:
    path = cluster / f"{kind}.json"
    answer = json.loads(path.read_text())
    change(answer["items"])
    path.write_text(json.dumps(answer))


def test_a_queue_is_put_together_from_its_objects(cluster: Path) -> None:
    queues = read()
    assert set(queues) == {"document", "vectorstore", "rag", "default"}
    document = queues["document"]
    assert document.scaling == Scaling(
        target=2, least=0, most=8, polling_seconds=5, cooldown_seconds=60, scale_in_seconds=60
    )
    assert document.workers == Workers(count=1, ready=1, idle_seconds=3.0)
    assert document.blocked == ""
    assert queues["vectorstore"].workers.idle_seconds == 31.0
    assert queues["vectorstore"].blocked == ""


def test_the_latest_decisions_are_told_and_only_of_this_queue(cluster: Path) -> None:
    document = read()["document"]
    assert [decision.partition(":")[0] for decision in document.decisions] == [
        "11 s ago FailedScheduling",
        "30 s ago SuccessfulRescale",
        "60 s ago KEDAScaleTargetActivated",
    ]
    assert document.decisions[0].endswith("0/1 nodes are available: 1 Insufficient memory.")
    assert read()["rag"].decisions[0].startswith("40 min ago KEDAScaleTargetDeactivated")


def test_only_the_release_is_asked_for(cluster: Path) -> None:
    read()
    asked = (cluster / "asked").read_text().splitlines()
    assert len(asked) == 4
    assert all(line.startswith("--context kind --namespace ragline get ") for line in asked)
    assert all("--output json" in line for line in asked)
    selected = [line for line in asked if "--selector app.kubernetes.io/instance=ragline" in line]
    assert [line.split()[5] for line in selected] == [DEPLOYMENTS, SCALED]


def test_a_paused_queue_says_how_to_go_on(cluster: Path) -> None:
    undo = "kubectl annotate scaledobject ragline-worker-rag autoscaling.keda.sh/paused-replicas-"
    assert read()["rag"].blocked == f"somebody paused it at 0; `{undo}` ends that"
    edit(cluster, SCALED, lambda items: items[2]["metadata"].update(annotations={"autoscaling.keda.sh/paused": "true"}))
    assert "autoscaling.keda.sh/paused-` ends that" in read()["rag"].blocked


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("Ready", "False", "KEDA cannot scale it: told"),
        ("Fallback", "True", "Redis does not answer KEDA, so nobody is taken away: told"),
    ],
)
def test_what_keeps_keda_from_its_formula_is_said(cluster: Path, kind: str, status: str, said: str) -> None:
    def change(items: list[dict[str, Any]]) -> None:
        items[0]["status"]["conditions"] = [{"type": kind, "status": status, "reason": "R", "message": "told"}]

    edit(cluster, SCALED, change)
    assert read()["document"].blocked == said


def test_an_hpa_that_cannot_read_the_queue_is_said(cluster: Path) -> None:
    def change(items: list[dict[str, Any]]) -> None:
        items[0]["status"]["conditions"][1].update(
            status="False", reason="FailedGetExternalMetric", message="no metric"
        )

    edit(cluster, HPAS, change)
    assert read()["document"].blocked == "the HPA cannot read the queue: no metric"


def test_without_a_scaled_object_something_else_decides(cluster: Path) -> None:
    assert read()["default"].otherwise == "a fixed number of workers: the queue wakes and stops nobody"
    assert read()["default"].workers == Workers(count=1, ready=0)

    def own(items: list[dict[str, Any]]) -> None:
        items[0]["metadata"]["name"] = "ragline-worker-default"

    edit(cluster, HPAS, own)
    assert read()["default"].otherwise == "scaled by CPU and not by the queue, from 1 to 8: the HPA wants 2"


def test_a_cluster_without_keda_has_no_scaled_objects(cluster: Path) -> None:
    (cluster / f"{SCALED}.error").write_text('error: the server doesn\'t have a resource type "scaledobjects"\n')
    assert {queue.scaling for queue in read().values()} == {None}


@pytest.mark.parametrize("kind", [SCALED, HPAS, DEPLOYMENTS, EVENTS])
def test_missing_rights_are_said(cluster: Path, kind: str) -> None:
    complaint = f'E1129 memcache.go\nError from server (Forbidden): {kind} is forbidden: User "me" cannot list it\n'
    (cluster / f"{kind}.error").write_text(complaint)
    with pytest.raises(ClusterUnreadable, match=rf"kubectl cannot read {kind}: Error from server \(Forbidden\)"):
        read()


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"items": 5}', '{"items": [{"metadata": {}}]}'])
def test_an_answer_of_something_else_is_said(cluster: Path, text: str) -> None:
    (cluster / f"{DEPLOYMENTS}.json").write_text(text)
    with pytest.raises(ClusterUnreadable, match="not understood"):
        read()


def test_a_missing_kubectl_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterUnreadable, match="kubectl is not on the PATH"):
        read()
