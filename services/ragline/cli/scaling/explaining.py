"""`ragline explain-scale`: why a queue has the workers it has, and what happens next."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from ragline.cli.queue_readings import QueueReading
from ragline.cli.scaling.cluster import QueueInCluster
from ragline.cli.scaling.formula import Demand, Forecast, forecast

__all__ = [
    "Explanation",
    "explain_cluster",
    "explain_laptop",
    "explain_ledger",
    "explanation_json",
    "print_explanation",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is known about one queue's workers.

    Attributes
    ----------
    cluster
        None outside a cluster, or when it cannot be read.
    wanted
        Workers in the end; None when no formula decides.
    """

    queue: str
    demand: Demand
    alive: tuple[str, ...]
    cluster: QueueInCluster | None = None
    wanted: int | None = None
    next: str


def explain_cluster(readings: Sequence[QueueReading], cluster: Mapping[str, QueueInCluster]) -> list[Explanation]:
    """Each queue by the cluster's objects."""
    return [_in_cluster(reading, cluster.get(reading.name)) for reading in readings]


def explain_laptop(readings: Sequence[QueueReading]) -> list[Explanation]:
    """Each queue of a service that `ragline up` runs: one worker each."""
    return [_explained(reading, _laptop_sentence(reading)) for reading in readings]


def explain_ledger(readings: Sequence[QueueReading]) -> list[Explanation]:
    """Each queue by the ledger's counts alone."""
    return [_explained(reading, _ledger_sentence(reading)) for reading in readings]


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    """For programs."""
    cluster = explanation.cluster
    return {
        "queue": explanation.queue,
        **asdict(explanation.demand),
        "total": explanation.demand.total,
        "workers_alive": list(explanation.alive),
        "workers": cluster.workers.count if cluster else None,
        "workers_ready": cluster.workers.ready if cluster else None,
        "workers_wanted": explanation.wanted,
        "scaling": asdict(cluster.scaling) if cluster and cluster.scaling else None,
        "blocked": cluster.blocked if cluster else "",
        "decisions": list(cluster.decisions) if cluster else [],
        "next": explanation.next,
    }


def print_explanation(explanation: Explanation, console: Console) -> None:
    """For people."""
    console.print(Text.assemble((explanation.queue, "bold cyan"), ": ", explanation.next), soft_wrap=True)
    names = ", ".join(explanation.alive) or "none"
    console.print(Text(f"  workers alive: {names}"), soft_wrap=True)
    cluster = explanation.cluster
    if cluster and cluster.scaling:
        scaling = cluster.scaling
        said = (
            f"  triggers: queued {explanation.demand.queued}, held {explanation.demand.held}, in flight "
            f"{explanation.demand.in_flight}; target {scaling.target} a worker, {scaling.least} to {scaling.most} "
            f"workers, polling {scaling.polling_seconds} s, cooldown {scaling.cooldown_seconds} s, "
            f"scale-in 1 in {scaling.scale_in_seconds} s"
        )
        console.print(Text(said), soft_wrap=True)
    for decision in cluster.decisions if cluster else ():
        console.print(Text(f"  {decision}", "dim"), soft_wrap=True)


def _in_cluster(reading: QueueReading, cluster: QueueInCluster | None) -> Explanation:
    demand = _demand(reading)
    if cluster is None:
        return _explained(reading, f"{demand}; the release has no Deployment for this queue: is --release right?")
    if cluster.scaling is None:
        pods = f"{cluster.workers.count} of them, {cluster.workers.ready} ready"
        return _explained(reading, f"{demand}; {cluster.otherwise} ({pods})", cluster)
    foreseen = forecast(demand, cluster.scaling, cluster.workers)
    if cluster.blocked:
        count = cluster.workers.count
        said = f"{demand}, and {count} worker{'' if count == 1 else 's'}: {cluster.blocked}"
        foreseen = Forecast(wanted=foreseen.wanted, next=said)
    return Explanation(
        queue=reading.name,
        demand=demand,
        alive=reading.workers,
        cluster=cluster,
        wanted=foreseen.wanted,
        next=foreseen.next,
    )


def _explained(reading: QueueReading, said: str, cluster: QueueInCluster | None = None) -> Explanation:
    return Explanation(queue=reading.name, demand=_demand(reading), alive=reading.workers, cluster=cluster, next=said)


def _demand(reading: QueueReading) -> Demand:
    held = reading.held or 0
    return Demand(queued=reading.waiting - held, held=held, in_flight=reading.in_flight)


def _laptop_sentence(reading: QueueReading) -> str:
    demand = _demand(reading)
    if not reading.workers:
        return (
            f"{demand}, and no worker is alive. `ragline up` starts one that ended; one that runs is frozen or cannot "
            f"reach Redis: see worker-{reading.name}.log"
        )
    alone = "one worker, never scaled: `ragline up` runs one of each queue"
    return f"{demand}; {alone}" if demand.total else f"no work; {alone}"


def _ledger_sentence(reading: QueueReading) -> str:
    demand, count = _demand(reading), len(reading.workers)
    alive = f"{count} worker{' is' if count == 1 else 's are'} alive"
    if demand.total and not count:
        return f"{demand}, and no worker is alive: KEDA wakes one at its next look, seconds from now, if it is there"
    return f"{demand}; {alive}; KEDA adds workers by this sum, whose target is in the ScaledObject"
