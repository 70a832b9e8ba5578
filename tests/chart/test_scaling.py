"""Each queue has its worker, and exactly one thing decides the number of its pods."""

from collections.abc import Sequence
from typing import Any

import pytest

from ragline.common.constants import STEP_BUDGET
from ragline.common.queues import CANVAS_TASKS, ROUTES, Queue
from ragline.stores.ledger.keys import held_key, unacked_key
from tests.chart.variants import every_variant, variant
from tests.support.chart import CHART, COMPONENT, Object, by_kind, find, nested, pod_specs, render

QUEUES = sorted(Queue)


def _targets(objects: Sequence[Object]) -> list[str]:
    scalers = by_kind(objects, "ScaledObject", "HorizontalPodAutoscaler")
    return [scaler["spec"]["scaleTargetRef"]["name"] for scaler in scalers]


def _workers(objects: Sequence[Object]) -> dict[str, Object]:
    prefix = "worker-"
    found = {}
    for deployment in by_kind(objects, "Deployment"):
        component = deployment["metadata"]["labels"][COMPONENT]
        if component.startswith(prefix):
            found[component.removeprefix(prefix)] = deployment
    return found


@every_variant
def test_replicas_are_written_only_where_nothing_scales(objects: Sequence[Object]) -> None:
    scaled = _targets(objects)
    assert len(scaled) == len(set(scaled))
    names = {found["metadata"]["name"] for found in by_kind(objects, "Deployment")}
    assert set(scaled) <= names
    for deployment in by_kind(objects, "Deployment"):
        name = deployment["metadata"]["name"]
        assert ("replicas" in deployment["spec"]) == (name not in scaled), name


def test_every_queue_has_a_worker_that_consumes_it() -> None:
    workers = _workers(render())
    assert sorted(workers) == QUEUES
    for queue, worker in workers.items():
        assert worker["spec"]["template"]["spec"]["containers"][0]["args"] == [queue]


def test_the_chart_knows_what_is_routed() -> None:
    checks = (CHART / "templates" / "_checks.tpl").read_text(encoding="utf-8")
    block = checks.partition('define "ragline.routedQueues"')[2].partition("end -")[0]
    listed = block.partition("-}}")[2].replace("{{-", "").split()
    routed = {route.queue for route in ROUTES.values()} | set(CANVAS_TASKS.values())
    assert sorted(listed) == sorted(routed) == QUEUES


@pytest.mark.parametrize("queue", QUEUES)
def test_keda_counts_what_waits_what_is_held_and_what_runs(queue: Queue) -> None:
    spec = find(render(), "ScaledObject", f"ragline-worker-{queue}")["spec"]
    lists = {trigger["name"]: trigger["metadata"]["listName"] for trigger in spec["triggers"]}
    assert lists == {"queued": queue, "held": held_key(queue), "inflight": unacked_key(queue)}
    modifiers = spec["advanced"]["scalingModifiers"]
    assert sorted(modifiers["formula"].split(" + ")) == sorted(lists)
    assert modifiers["activationTarget"] == "0"
    assert spec["scaleTargetRef"]["name"] == f"ragline-worker-{queue}"
    assert {trigger["type"] for trigger in spec["triggers"]} == {"redis"}


def test_keda_gets_the_password_from_the_secret_and_the_address_with_the_namespace() -> None:
    objects = render()
    (authentication,) = by_kind(objects, "TriggerAuthentication")
    assert authentication["spec"]["secretTargetRef"] == [
        {"parameter": "password", "name": "ragline-redis", "key": "redis_password"}
    ]
    for scaled in by_kind(objects, "ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
            assert trigger["metadata"]["address"] == "ragline-redis.documents.svc:6379"


def test_without_a_password_keda_is_promised_none() -> None:
    objects = variant("no-password")
    triggers = [trigger for scaled in by_kind(objects, "ScaledObject") for trigger in scaled["spec"]["triggers"]]
    assert triggers
    assert not [trigger for trigger in triggers if "authenticationRef" in trigger]
    assert by_kind(objects, "TriggerAuthentication") == []


def test_without_keda_the_number_is_fixed() -> None:
    objects = render(api_versions=())
    assert by_kind(objects, "ScaledObject", "TriggerAuthentication") == []
    assert {worker["spec"]["replicas"] for worker in _workers(objects).values()} == {1}


def test_one_queue_may_be_scaled_in_another_way() -> None:
    objects = render(nested("worker.queues.rag.scaler", "hpa"))
    assert "ragline-worker-rag" not in [found["metadata"]["name"] for found in by_kind(objects, "ScaledObject")]
    spec = find(objects, "HorizontalPodAutoscaler", "ragline-worker-rag")["spec"]
    assert spec["minReplicas"] >= 1


def test_somebody_sits_in_front_of_questions_only() -> None:
    fewest = {
        found["spec"]["scaleTargetRef"]["name"]: found["spec"]["minReplicaCount"]
        for found in by_kind(render(), "ScaledObject")
    }
    assert {name for name, count in fewest.items() if count} == {"ragline-worker-rag"}


def test_a_step_can_hand_its_work_back_before_the_kill() -> None:
    for name, spec in pod_specs(render()).items():
        if "-worker-" in name:
            environment = {entry["name"]: entry.get("value") for entry in spec["containers"][0]["env"]}
            stop = float(environment["STOP_TIMEOUT_SECONDS"] or 0)
            assert STEP_BUDGET.total_seconds() < stop < spec["terminationGracePeriodSeconds"], name


FIFTH: dict[str, Any] = {"worker": {"queues": {"reports": {"maxReplicas": 2}}}}


def test_a_fifth_queue_is_four_lines_of_values() -> None:
    before, after = render(), render(FIFTH)
    new = {(found["kind"], found["metadata"]["name"]) for found in after}
    new -= {(found["kind"], found["metadata"]["name"]) for found in before}
    assert new == {(kind, "ragline-worker-reports") for kind in ("Deployment", "PodDisruptionBudget", "ScaledObject")}
    assert find(after, "ScaledObject", "ragline-worker-reports")["spec"]["maxReplicaCount"] == 2
    assert find(after, "Deployment", "ragline-worker-reports")["spec"]["template"]["spec"]["containers"][0]["args"] == [
        "reports"
    ]
