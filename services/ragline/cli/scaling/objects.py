"""What `explain-scale` reads of Kubernetes' objects: KEDA 2.20's ScaledObject, HPA v2, Deployment and Event."""

from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from ragline.cli.scaling.kubectl import ClusterUnreadable

__all__ = ["Autoscaler", "Condition", "Deployment", "KubeEvent", "ScaledObject", "understood"]

ObjectT = TypeVar("ObjectT", bound="_Object")


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", alias_generator=to_camel, populate_by_name=True)


class _Metadata(_Part):
    name: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    creation_timestamp: datetime | None = None


class _Object(_Part):
    metadata: _Metadata


class Condition(_Part):
    """A condition of any object."""

    type: str
    status: str = "Unknown"
    reason: str = ""
    message: str = ""


class _Policy(_Part):
    period_seconds: int


class _Rules(_Part):
    stabilization_window_seconds: int | None = None
    policies: list[_Policy] = []


class _Behavior(_Part):
    scale_down: _Rules = _Rules()


class _HpaConfig(_Part):
    behavior: _Behavior = _Behavior()


class _Modifiers(_Part):
    target: str = ""


class _Advanced(_Part):
    horizontal_pod_autoscaler_config: _HpaConfig = _HpaConfig()
    scaling_modifiers: _Modifiers = _Modifiers()


class _ScaledSpec(_Part):
    min_replica_count: int = 0
    max_replica_count: int = 100
    polling_interval: int = 30
    cooldown_period: int = 300
    advanced: _Advanced = _Advanced()


class _ScaledStatus(_Part):
    conditions: list[Condition] = []
    last_active_time: datetime | None = None
    hpa_name: str = ""


class ScaledObject(_Object):
    """How KEDA scales a Deployment."""

    spec: _ScaledSpec
    status: _ScaledStatus = _ScaledStatus()


class _HpaSpec(_Part):
    min_replicas: int = 1
    max_replicas: int


class _HpaStatus(_Part):
    current_replicas: int = 0
    desired_replicas: int = 0
    conditions: list[Condition] = []


class Autoscaler(_Object):
    """A HorizontalPodAutoscaler, KEDA's or the chart's own."""

    spec: _HpaSpec
    status: _HpaStatus = _HpaStatus()


class _DeploymentSpec(_Part):
    replicas: int = 1


class _DeploymentStatus(_Part):
    ready_replicas: int = 0


class Deployment(_Object):
    """The workers of one queue."""

    spec: _DeploymentSpec
    status: _DeploymentStatus = _DeploymentStatus()


class _Involved(_Part):
    kind: str = ""
    name: str = ""


class KubeEvent(_Object):
    """Something that Kubernetes or KEDA did or could not do."""

    type: str = "Normal"
    reason: str = ""
    message: str = ""
    involved_object: _Involved
    event_time: datetime | None = None
    last_timestamp: datetime | None = None

    @property
    def at(self) -> datetime | None:
        """When it happened last."""
        return self.last_timestamp or self.event_time or self.metadata.creation_timestamp


def understood(kind: type[ObjectT], items: list[dict[str, Any]]) -> list[ObjectT]:
    """Objects as what they should be.

    Raises
    ------
    ClusterUnreadable
        One is something else.
    """
    try:
        return [kind.model_validate(item) for item in items]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ClusterUnreadable(
            f"a {kind.__name__} of the cluster is not understood: {where}: {first['msg']}"
        ) from error
