"""The queues as the API counts them: from its metrics, or from ``GET /tasks/info`` when it has none."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from ragline.cli.client import RaglineClient
from ragline.cli.metrics import Metrics
from ragline.cli.replies import understood
from ragline.common.metrics import LEDGER_UP, QUEUE_HELD, QUEUE_OLDEST_AGE

__all__ = ["QueueReading", "Readings", "read_queues"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReading:
    """One queue at one moment; None for what the API does not say.

    Attributes
    ----------
    waiting, held
        Jobs that wait for a worker, and those of them that a tenant's share holds back.
    workers
        Names of those that are alive.
    """

    name: str
    waiting: int
    held: int | None
    in_flight: int
    workers: tuple[str, ...]
    oldest_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """All queues, and the metrics they were read from.

    Attributes
    ----------
    gaps
        What is missing, in sentences.
    """

    queues: tuple[QueueReading, ...]
    metrics: Metrics
    gaps: tuple[str, ...]


class _Queue(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str
    waiting: int
    in_flight: int
    workers: list[str]


class _Info(BaseModel):
    model_config = ConfigDict(extra="ignore")

    queues: list[_Queue]


def read_queues(client: RaglineClient) -> Readings:
    """Ask for both, and say what is not there.

    Raises
    ------
    ApiUnreachable, ApiFailure
        There is no API, or it cannot read its queues.
    """
    info = understood(_Info, client.tasks_info())
    text = client.metrics()
    metrics = Metrics(text or "")
    return Readings(
        queues=tuple(_reading(queue, metrics) for queue in info.queues), metrics=metrics, gaps=_gaps(text, metrics)
    )


def _reading(queue: _Queue, metrics: Metrics) -> QueueReading:
    held = metrics.value(QUEUE_HELD.name, queue=queue.name)
    return QueueReading(
        name=queue.name,
        waiting=queue.waiting,
        held=None if held is None else min(int(held), queue.waiting),
        in_flight=queue.in_flight,
        workers=tuple(queue.workers),
        oldest_seconds=metrics.value(QUEUE_OLDEST_AGE.name, queue=queue.name),
    )


def _gaps(text: str | None, metrics: Metrics) -> tuple[str, ...]:
    if text is None:
        return ("This API has no /metrics: rates, waits, ages, documents and errors are not known.",)
    if metrics.value(LEDGER_UP.name) == 0:
        return ("The API could not read its ledger for /metrics: what it shows of Redis is missing.",)
    return ()
