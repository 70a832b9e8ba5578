"""What KEDA and the HPA will do with a queue's workers: arithmetic, and one sentence. Nothing here asks anybody.

KEDA wakes the first worker and takes the last ones; between 1 and the most, the HPA that KEDA made decides. Sources:
KEDA 2.20 (``pkg/scaling/executor/scale_scaledobjects.go``) and Kubernetes' HPA v2 with its default scale-up behaviour.
"""

import math
from dataclasses import dataclass

from typing_extensions import override

__all__ = ["Demand", "Forecast", "Scaling", "Workers", "forecast", "wanted_workers"]

_HPA_SYNC_SECONDS = 15
"""How often the HPA decides: ``--horizontal-pod-autoscaler-sync-period``, its default."""

_HPA_TOLERANCE = 0.1
"""The HPA leaves a number of workers alone that is off by so little: ``--horizontal-pod-autoscaler-tolerance``."""

_HPA_STEP_PODS = 4
"""In one period it adds this many, or as many as there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Work of one queue: KEDA's three triggers."""

    queued: int
    held: int
    in_flight: int

    @property
    def total(self) -> int:
        """What the formula gives."""
        return self.queued + self.held + self.in_flight

    @override
    def __str__(self) -> str:
        held = f" + {self.held} held" if self.held else ""
        return f"{self.queued} queued{held} + {self.in_flight} in flight = {self.total}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How a queue is scaled.

    Attributes
    ----------
    target
        Work per worker.
    least, most
        Bounds of the number of workers.
    polling_seconds, cooldown_seconds
        How often KEDA looks whether to wake the first worker, and how long there is no work before it takes the last.
    scale_in_seconds
        Between two workers that are taken away while there is work for others.
    """

    target: int
    least: int
    most: int
    polling_seconds: int
    cooldown_seconds: int
    scale_in_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """The workers there are.

    Attributes
    ----------
    count, ready
        Pods that were asked for, and those of them that work.
    idle_seconds
        Since there was work last; None when nobody knows.
    """

    count: int
    ready: int
    idle_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How many workers are wanted, and what happens next in one sentence."""

    wanted: int
    next: str


def wanted_workers(demand: Demand, scaling: Scaling, current: int) -> int:
    """How many workers KEDA and the HPA come to in the end, however long their steps take."""
    if demand.total == 0:
        return scaling.least
    wanted = math.ceil(demand.total / scaling.target)
    if current and abs(demand.total / (scaling.target * current) - 1) <= _HPA_TOLERANCE:
        wanted = current
    return min(max(wanted, scaling.least, 1), scaling.most)


def forecast(demand: Demand, scaling: Scaling, workers: Workers) -> Forecast:
    """What happens next if no work comes and none ends."""
    wanted = wanted_workers(demand, scaling, workers.count)
    said = _without_work(scaling, workers) if demand.total == 0 else _with_work(demand, scaling, workers, wanted)
    starting = workers.count - workers.ready
    if starting > 0:
        said += f"; {starting} of {workers.count} {'is' if starting == 1 else 'are'} still starting"
    return Forecast(wanted=wanted, next=said)


def _with_work(demand: Demand, scaling: Scaling, workers: Workers, wanted: int) -> str:
    count = workers.count
    sum_of_all = f"{demand}, target {scaling.target}"
    if count == 0:
        more = f", and the HPA goes on to {wanted}" if wanted > 1 else ""
        return f"{sum_of_all}: asleep; KEDA wakes one worker within {scaling.polling_seconds} s{more}"
    most = " (the most)" if wanted == scaling.most < math.ceil(demand.total / scaling.target) else ""
    has = f"{sum_of_all}: KEDA wants {_workers(wanted)}{most}, has {count}"
    if wanted > count:
        step = min(wanted - count, max(_HPA_STEP_PODS, count))
        coming = "the second comes" if (count, step) == (1, 1) else f"{step} more {'comes' if step == 1 else 'come'}"
        return f"{has}; {coming} within {_HPA_SYNC_SECONDS} s"
    if wanted < count:
        seconds = scaling.scale_in_seconds
        return f"{has}; one goes every {seconds} s, the first when fewer were wanted for {seconds} s"
    return f"{has}; nothing changes"


def _without_work(scaling: Scaling, workers: Workers) -> str:
    if workers.count == scaling.least == 0:
        return f"asleep; the next message wakes one worker within the polling interval, {scaling.polling_seconds} s"
    if scaling.least > 0:
        stays = "always stays" if scaling.least == 1 else "always stay"
        if workers.count == 0:
            return f"no work; KEDA starts {_workers(scaling.least)} within {scaling.polling_seconds} s, which {stays}"
        stay = f"{_workers(scaling.least)} {stays}"
        if workers.count <= scaling.least:
            return f"no work; {stay}"
        return f"no work; one worker goes every {scaling.scale_in_seconds} s, {stay}"
    left = scaling.cooldown_seconds - (workers.idle_seconds or 0)
    when = f"in {max(math.ceil(left), 0)} s" if workers.idle_seconds is not None else "when the cooldown is over"
    goes = "the worker goes" if workers.count == 1 else f"all {workers.count} workers go"
    return f"no work; {goes} {when} (cooldown {scaling.cooldown_seconds} s) unless some comes"


def _workers(count: int) -> str:
    return f"{count} worker" if count == 1 else f"{count} workers"
