"""The Celery app: its settings, and what its process does at its signals. What must not be lost is in the ledger."""

import gc
import multiprocessing
import threading
import time
from functools import partial
from typing import Any

import billiard.util
import celery.apps.worker
import structlog
from celery import signals

from ragline.common.calls import measure_calls
from ragline.common.config import WorkerConfig
from ragline.common.constants import VISIBILITY_TIMEOUT
from ragline.common.logging import configure_logging
from ragline.common.measurements import measure_call
from ragline.common.queues import Queue
from ragline.common.tracing import start_tracing, stop_tracing
from ragline.stores.ledger.keys import unacked_index_key, unacked_key, unacked_mutex_key
from ragline.stores.redis_connection import celery_connection
from ragline.worker.base import RaglineCelery
from ragline.worker.context import ProcessContext
from ragline.worker.discretion import DiscreetAMQP
from ragline.worker.heartbeat import Heartbeat
from ragline.worker.pools import POOLS
from ragline.worker.probes import ProbeFiles
from ragline.worker.stopping import StopTimer
from ragline.worker.warming import warm_up

__all__ = ["create_celery"]

logger = structlog.get_logger(__name__)

_CANVAS_RESULT_SECONDS = 3600
"""How long results between the links of a demo workflow are kept."""


def create_celery(config: WorkerConfig, queue: Queue, *, worker: str = "worker") -> RaglineCelery:
    """The app of one queue's worker, with its tasks and its process signals.

    Parameters
    ----------
    worker
        Name of this worker in records and in Flower, such as ``rag@pod-1``.
    """
    app = RaglineCelery("ragline", amqp=DiscreetAMQP, include=[f"ragline.worker.tasks.{queue}"])
    app.conf.update(_settings(config, queue))
    _connect_signals(app, config, queue, worker)
    return app


def _settings(config: WorkerConfig, queue: Queue) -> dict[str, Any]:
    return {
        **celery_connection(config.redis_server, _transport_options(queue)),
        "accept_content": ["json"],
        # An outage is waited out, however long: Celery's default is to end after a hundred tries.
        "broker_connection_max_retries": None,
        "broker_connection_retry_on_startup": True,
        "enable_utc": True,
        "result_expires": _CANVAS_RESULT_SECONDS,
        "task_acks_late": True,
        "task_allow_error_cb_on_chord_header": True,
        "task_default_queue": Queue.DEFAULT,
        "task_ignore_result": True,
        "task_reject_on_worker_lost": True,
        "timezone": "UTC",
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_disable_prefetch": True,
        "worker_hijack_root_logger": False,
        "worker_prefetch_multiplier": 1,
        "worker_redirect_stdouts": False,
        "worker_send_task_events": True,
    }


def _transport_options(queue: Queue) -> dict[str, Any]:
    # One set of keys per queue: the length of its unacked hash is the queue's work in flight. Publishers use none.
    return {
        "visibility_timeout": VISIBILITY_TIMEOUT.total_seconds(),
        # What a dead worker held keeps its queue awake until it is put back: look every 10 s, not every 100 s.
        "unacked_restore_throttle": 1,
        "unacked_key": unacked_key(queue),
        "unacked_index_key": unacked_index_key(queue),
        "unacked_mutex_key": unacked_mutex_key(queue),
        # kombu's default of no timeout lets a half-open connection hang for ever.
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "health_check_interval": 5,
    }


def _connect_signals(app: RaglineCelery, config: WorkerConfig, queue: Queue, worker: str) -> None:
    # Made before the pool forks, so that the children see it being set.
    fork = multiprocessing.get_context("fork")
    stopping, ready_at = fork.Event(), fork.Value("d", 0.0, lock=False)

    def open_context(**_: object) -> None:
        # After the fork: what exports spans is a thread.
        start_tracing(config, service=f"ragline-worker-{queue}", instance=worker)
        app.context = ProcessContext(config, worker=worker, stopping=stopping, ready_at=lambda: ready_at.value)

    def close_context(**_: object) -> None:
        if app.context is not None:
            app.context.close()
            app.context = None
        stop_tracing()

    def note_ready(**_: object) -> None:
        ready_at.value = time.time()

    forks = POOLS[queue].kind == "prefork"
    handlers = {
        signals.setup_logging: partial(_set_up_logging, config),
        signals.worker_before_create_process: _share_memory,
        signals.worker_process_init if forks else signals.worker_init: open_context,
        signals.worker_process_shutdown if forks else signals.worker_shutdown: close_context,
        signals.worker_ready: note_ready,
        signals.worker_shutting_down: lambda **_: stopping.set(),
    }
    for event, handler in handlers.items():
        event.connect(handler, weak=False)
    # Before the pool forks: its processes measure as this one does.
    signals.worker_init.connect(lambda **_: measure_calls(measure_call), weak=False)
    signals.worker_shutting_down.connect(StopTimer(config.stop_timeout_seconds).shutting_down, weak=False)
    _connect_heartbeat(config, queue, worker)
    _connect_warming(app, queue)


def _set_up_logging(config: WorkerConfig, **_: object) -> None:
    configure_logging(level=config.log_level, log_format=config.log_format)
    # The pool's, which keeps its lines to itself.
    billiard.util.get_logger().propagate = True
    # Celery prints that it stops from within a signal handler, past every log.
    celery.apps.worker.safe_say = _say_nothing


def _say_nothing(*_: object) -> None:
    """What is worth saying about an end is logged."""


def _share_memory(**_: object) -> None:
    """Let the pool's children share what the main process holds: 8 of them take 100 MB less."""
    if cffi := getattr(billiard.util, "cffi", None):
        # Each child has billiard declare this C function; a parser that is warm already costs it 14 MB less.
        cffi.FFI().cdef("int prctl(int option, unsigned long argument, ...);")
    gc.collect()
    gc.freeze()


def _connect_heartbeat(config: WorkerConfig, queue: Queue, worker: str) -> None:
    def start(**_: object) -> None:
        context = ProcessContext(config, worker=worker, stopping=threading.Event())
        heartbeat = Heartbeat(context, queue=queue, probes=ProbeFiles(config.probe_dir))
        heartbeat.start()
        signals.worker_shutdown.connect(partial(_end, heartbeat), weak=False)
        logger.info("worker ready", worker=worker, queue=str(queue))

    signals.worker_ready.connect(start, weak=False)


def _connect_warming(app: RaglineCelery, queue: Queue) -> None:
    def warm(**_: object) -> None:
        if app.context is not None:
            warm_up(app.context, queue)

    signals.worker_ready.connect(warm, weak=False)


def _end(heartbeat: Heartbeat, **_: object) -> None:
    heartbeat.stop()
    logger.info("worker ended")
