"""What a worker tells about its connection and its tasks to whoever asks; Flower shows it on a page."""

from typing import Any

from celery.app.amqp import AMQP, task_message
from kombu.connection import Connection
from kombu.utils.url import maybe_sanitize_url
from typing_extensions import override

__all__ = ["DiscreetAMQP"]


class _DiscreetConnection(Connection):
    """Celery leaves out the password, but not its copies in the addresses of Sentinels, nor the Sentinels' own."""

    @override
    def info(self) -> dict[str, Any]:
        told: dict[str, Any] = super().info()  # type: ignore[no-untyped-call]
        told["alternates"] = [maybe_sanitize_url(url) for url in told["alternates"]]
        told["transport_options"] = {
            name: value for name, value in told["transport_options"].items() if name != "sentinel_kwargs"
        }
        return told


class DiscreetAMQP(AMQP):
    """Celery's way to its broker, over connections that keep passwords to themselves. Its messages show ids alone."""

    Connection = _DiscreetConnection

    @override
    def as_task_v2(self, task_id: str, name: str, *args: Any, **options: Any) -> task_message:
        shown = {"argsrepr": f"({task_id!r},)", "kwargsrepr": "{}"}
        return super().as_task_v2(task_id, name, *args, **{**options, **shown})
