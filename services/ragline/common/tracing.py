"""Begins and ends the tracing of a process. Never before a fork: its thread would be the parent's alone."""

import os
import socket

from ragline.common.config import BaseConfig
from ragline.common.outbox import Outbox, Send
from ragline.common.spans import Tracer, active_tracer, use_tracer

__all__ = ["start_tracing", "stop_tracing"]

_EXPORT_SECONDS = 2.0
"""Longest time of one export. A collector nearby takes a batch in milliseconds."""

_FLUSH_SECONDS = 2.0
"""Longest time that the end of a process waits for its last spans."""

_outboxes: dict[Tracer, Outbox] = {}


def start_tracing(config: BaseConfig, *, service: str, instance: str = "") -> None:
    """Trace this process from now on, if there is a collector. Costs nothing otherwise.

    Parameters
    ----------
    service
        What kind of process it is, such as ``ragline-api``.
    instance
        Which one; host and process id when empty.
    """
    if not config.otel_exporter_otlp_endpoint or active_tracer() is not None:
        return
    # Now, not with the first span: what is there once a process has started, its garbage collector passes over.
    from ragline.common.otlp import over_http, sender  # noqa: PLC0415 - 0.2 s and 15 MB that only tracing needs

    headers = config.otel_exporter_otlp_headers
    name = instance or f"{socket.gethostname()}-{os.getpid()}"

    def connect() -> Send:
        exporter = over_http(
            config.otel_exporter_otlp_endpoint,
            headers.get_secret_value() if headers else "",
            timeout_seconds=_EXPORT_SECONDS,
        )
        return sender(exporter, service=service, instance=name)

    outbox = Outbox(connect)
    tracer = Tracer(ratio=config.trace_sample_ratio, content=config.trace_content, deliver=outbox.put)
    _outboxes[tracer] = outbox
    use_tracer(tracer)


def stop_tracing() -> None:
    """Trace no more, and send what waits; takes two seconds at most."""
    tracer = active_tracer()
    if tracer is None:
        return
    use_tracer(None)
    if (outbox := _outboxes.pop(tracer, None)) is not None:
        outbox.close(_FLUSH_SECONDS)
