"""How a cluster scales each queue: its objects put together."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ragline.cli.scaling.formula import Scaling, Workers
from ragline.cli.scaling.kubectl import Kubectl
from ragline.cli.scaling.objects import Autoscaler, Condition, Deployment, KubeEvent, ScaledObject, understood
from ragline.cli.wording import lasting

__all__ = ["QueueInCluster", "read_cluster"]

_COMPONENT = "app.kubernetes.io/component"
_PAUSED = "autoscaling.keda.sh/paused"
_PAUSED_AT = "autoscaling.keda.sh/paused-replicas"

_DECISIONS = 5
"""Latest events that are told."""

_SCALERS = {"ScaledObject", "HorizontalPodAutoscaler"}
"""Who decides. What the Deployment then does says the same once more."""

_PROBE_FAILED = "Unhealthy"
"""Every worker's first probes find it starting."""

_SELECTOR = re.compile(r"\(&LabelSelector\{.*?\},?\)")
"""What the HPA says behind the name of a metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueInCluster:
    """The workers of one queue in a cluster.

    Attributes
    ----------
    scaling
        None when KEDA does not scale them.
    blocked
        Why KEDA does not do what its formula says; empty: nothing keeps it.
    otherwise
        What scales them instead of KEDA.
    decisions
        What was done last, the latest first.
    """

    workers: Workers
    scaling: Scaling | None
    blocked: str = ""
    otherwise: str = ""
    decisions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Objects:
    scaled: Sequence[ScaledObject]
    autoscalers: Sequence[Autoscaler]
    events: Sequence[KubeEvent]


def read_cluster(kubectl: Kubectl, *, release: str, now: datetime) -> dict[str, QueueInCluster]:
    """The queues whose workers a release has, by name.

    Raises
    ------
    ClusterUnreadable
        Naming what could not be read, and why.
    """
    own = f"app.kubernetes.io/instance={release}"
    deployments = understood(Deployment, kubectl.listed("deployments.apps", selector=own))
    objects = _Objects(
        scaled=understood(ScaledObject, kubectl.listed("scaledobjects.keda.sh", selector=own)),
        autoscalers=understood(Autoscaler, kubectl.listed("horizontalpodautoscalers.autoscaling")),
        events=understood(KubeEvent, kubectl.listed("events")),
    )
    return {
        component.removeprefix("worker-"): _queue(deployment, objects, now)
        for deployment in deployments
        if (component := deployment.metadata.labels.get(_COMPONENT, "")).startswith("worker-")
    }


def _queue(deployment: Deployment, objects: _Objects, now: datetime) -> QueueInCluster:
    name = deployment.metadata.name
    scaled = next((found for found in objects.scaled if found.metadata.name == name), None)
    hpa_name = (scaled.status.hpa_name or f"keda-hpa-{name}") if scaled else name
    hpa = next((found for found in objects.autoscalers if found.metadata.name == hpa_name), None)
    idle = (now - scaled.status.last_active_time).total_seconds() if scaled and scaled.status.last_active_time else None
    workers = Workers(
        count=deployment.spec.replicas, ready=deployment.status.ready_replicas, idle_seconds=idle and max(idle, 0)
    )
    return QueueInCluster(
        workers=workers,
        scaling=_scaling(scaled) if scaled else None,
        blocked=_blocked(scaled, hpa) if scaled else "",
        otherwise="" if scaled else _without_keda(hpa),
        decisions=_decisions(objects.events, name, hpa_name, now),
    )


def _scaling(scaled: ScaledObject) -> Scaling:
    spec = scaled.spec
    down = spec.advanced.horizontal_pod_autoscaler_config.behavior.scale_down
    periods = [policy.period_seconds for policy in down.policies]
    # KEDA takes decimals; a target below 1 is none of our chart's.
    target = float(spec.advanced.scaling_modifiers.target or 1)
    return Scaling(
        target=max(round(target), 1),
        least=spec.min_replica_count,
        most=spec.max_replica_count,
        polling_seconds=spec.polling_interval,
        cooldown_seconds=spec.cooldown_period,
        scale_in_seconds=max(periods or [down.stabilization_window_seconds or 0]),
    )


def _blocked(scaled: ScaledObject, hpa: Autoscaler | None) -> str:
    annotations, name = scaled.metadata.annotations, scaled.metadata.name
    if _PAUSED_AT in annotations:
        undo = f"kubectl annotate scaledobject {name} {_PAUSED_AT}-"
        return f"somebody paused it at {annotations[_PAUSED_AT]}; `{undo}` ends that"
    if annotations.get(_PAUSED) == "true":
        return f"somebody paused it; `kubectl annotate scaledobject {name} {_PAUSED}-` ends that"
    ready, fallback = _condition(scaled.status.conditions, "Ready"), _condition(scaled.status.conditions, "Fallback")
    if ready.status == "False":
        return f"KEDA cannot scale it: {ready.message or ready.reason}"
    if fallback.status == "True":
        return f"Redis does not answer KEDA, so nobody is taken away: {fallback.message or fallback.reason}"
    active = _condition(hpa.status.conditions if hpa else (), "ScalingActive")
    # At no replicas the HPA rests, and says so as if that were a failure.
    if active.status == "False" and active.reason != "ScalingDisabled":
        return f"the HPA cannot read the queue: {active.message or active.reason}"
    return ""


def _without_keda(hpa: Autoscaler | None) -> str:
    if hpa is None:
        return "a fixed number of workers: the queue wakes and stops nobody"
    bounds = f"{hpa.spec.min_replicas} to {hpa.spec.max_replicas}"
    return f"scaled by CPU and not by the queue, from {bounds}: the HPA wants {hpa.status.desired_replicas}"


def _condition(conditions: Sequence[Condition], kind: str) -> Condition:
    return next((found for found in conditions if found.type == kind), Condition(type=kind))


def _decisions(events: Sequence[KubeEvent], name: str, hpa_name: str, now: datetime) -> tuple[str, ...]:
    never = datetime.fromtimestamp(0, tz=UTC)
    told = [event for event in events if _is_told(event, name, hpa_name)]
    latest = sorted(told, key=lambda event: event.at or never, reverse=True)[:_DECISIONS]
    return tuple(_decision(event, now) for event in latest)


def _is_told(event: KubeEvent, name: str, hpa_name: str) -> bool:
    kind, about = event.involved_object.kind, event.involved_object.name
    if kind in _SCALERS:
        return about in {name, hpa_name}
    # Of pods and replica sets, whose names begin with the Deployment's, only what keeps them from running.
    return about.startswith(f"{name}-") and event.type == "Warning" and event.reason != _PROBE_FAILED


def _decision(event: KubeEvent, now: datetime) -> str:
    age = (now - event.at).total_seconds() if event.at else 0
    return f"{lasting(age)} ago {event.reason}: {' '.join(_SELECTOR.sub('', event.message).split())}"
