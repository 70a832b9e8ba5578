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
NOW = datetime(2026, 11, 29, 10, 15, 22, tzinfo=UTC)
SCALED, HPAS, DEPLOYMENTS, EVENTS = (
    "scaledobjects.keda.sh",
    "horizontalpodautoscalers.autoscaling",
    "deployments.apps",
    "events",
)

Edit = Callable[[list[dict[str, Any]]], object]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the answers of a kubectl on the PATH: what one with KEDA 2.20 gave, without pod templates."""
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
        target=4, least=0, most=3, polling_seconds=2, cooldown_seconds=10, scale_in_seconds=10
    )
    assert document.workers == Workers(count=1, ready=0, idle_seconds=2.0)
    assert queues["rag"].workers == Workers(count=0, ready=0, idle_seconds=17.0)
    assert {queue.blocked for queue in queues.values()} == {""}


def test_the_latest_decisions_are_told_and_only_of_this_queue(cluster: Path) -> None:
    deployment = "apps/v1.Deployment ragline-e2e-traced/ragline-worker-document"
    assert read()["document"].decisions == (
        f"3.8 s ago KEDAScaleTargetActivated: Scaled {deployment} from 0 to 1, triggered by composite-metric",
        f"28 s ago KEDAScaleTargetDeactivated: Deactivated {deployment} from 3 to 0",
        "55 s ago SuccessfulRescale: New size: 3; reason: external metric composite-metric above target",
        f"58 s ago KEDAScaleTargetActivated: Scaled {deployment} from 0 to 1, triggered by composite-metric",
    )
    assert read()["default"].decisions[-1].startswith("5 min ago KEDAScalerFailed: connection to redis failed")


def test_what_keeps_a_pod_from_running_is_told(cluster: Path) -> None:
    def change(items: list[dict[str, Any]]) -> None:
        items[-1].update(reason="FailedScheduling", message="0/1 nodes are available:\n1 Insufficient memory.")

    edit(cluster, EVENTS, change)
    told = "1.0 s ago FailedScheduling: 0/1 nodes are available: 1 Insufficient memory."
    assert read()["document"].decisions[0] == told


def test_only_the_release_is_asked_for(cluster: Path) -> None:
    read()
    asked = (cluster / "asked").read_text().splitlines()
    assert len(asked) == 4
    assert all(line.startswith("--context kind --namespace ragline get ") for line in asked)
    assert all("--output json" in line for line in asked)
    selected = [line for line in asked if "--selector app.kubernetes.io/instance=ragline" in line]
    assert [line.split()[5] for line in selected] == [DEPLOYMENTS, SCALED]


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [("paused-replicas", "0", "somebody paused it at 0"), ("paused", "true", "somebody paused it")],
)
def test_a_paused_queue_says_how_to_go_on(cluster: Path, annotation: str, value: str, said: str) -> None:
    def change(items: list[dict[str, Any]]) -> None:
        items[2]["metadata"]["annotations"][f"autoscaling.keda.sh/{annotation}"] = value

    edit(cluster, SCALED, change)
    undo = f"kubectl annotate scaledobject ragline-worker-rag autoscaling.keda.sh/{annotation}-"
    assert read()["rag"].blocked == f"{said}; `{undo}` ends that"


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("Ready", "False", "KEDA cannot scale it: told"),
        ("Fallback", "True", "Redis does not answer KEDA, so nobody is taken away: told"),
    ],
)
def test_what_keeps_keda_from_its_formula_is_said(cluster: Path, kind: str, status: str, said: str) -> None:
    def change(items: list[dict[str, Any]]) -> None:
        items[1]["status"]["conditions"] = [{"type": kind, "status": status, "reason": "R", "message": "told"}]

    edit(cluster, SCALED, change)
    assert read()["document"].blocked == said


def test_an_hpa_that_cannot_read_the_queue_is_said(cluster: Path) -> None:
    def change(items: list[dict[str, Any]]) -> None:
        items[1]["status"]["conditions"][1].update(
            status="False", reason="FailedGetExternalMetric", message="no metric"
        )

    edit(cluster, HPAS, change)
    assert read()["document"].blocked == "the HPA cannot read the queue: no metric"


def test_without_a_scaled_object_something_else_decides(cluster: Path) -> None:
    edit(cluster, SCALED, lambda items: items.pop(0))
    assert read()["default"].otherwise == "a fixed number of workers: the queue wakes and stops nobody"
    assert read()["default"].scaling is None

    def own(items: list[dict[str, Any]]) -> None:
        items[0]["metadata"]["name"] = "ragline-worker-default"

    edit(cluster, HPAS, own)
    assert read()["default"].otherwise == "scaled by CPU and not by the queue, from 1 to 3: the HPA wants 1"


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
