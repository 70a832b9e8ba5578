"""What a worker tells about its connection to whoever asks; Flower shows it on a page."""

from typing import Any

from celery.app.amqp import AMQP
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
    """Celery's way to its broker, over connections that keep passwords to themselves."""

    Connection = _DiscreetConnection
