"""What a worker does right after its start, beside its first tasks."""

import os
import signal
import threading
from collections.abc import Callable

import structlog

from ragline.common.config import ConfigError
from ragline.common.errors import RagError
from ragline.common.queues import Queue
from ragline.worker.context import ProcessContext
from ragline.worker.factory import build_embedder, build_generator

__all__ = ["warm_up"]

logger = structlog.get_logger(__name__)


def warm_up(context: ProcessContext, queue: Queue) -> None:
    """Load and announce, in threads of their own, what the tasks of this queue need."""
    if queue in {Queue.VECTORSTORE, Queue.RAG}:
        _begin(_load_model, context, "warming")
    if queue is Queue.RAG:
        _begin(_announce, context, "announcing")


def _begin(work: Callable[[ProcessContext], None], context: ProcessContext, name: str) -> None:
    threading.Thread(target=work, args=(context,), name=name, daemon=True).start()


def _load_model(context: ProcessContext) -> None:
    """So that the first task does not wait for it."""
    try:
        context.part(build_embedder).warm()
    except ConfigError:
        logger.exception("the embedder cannot be loaded", next="the worker ends; its steps wait")
        os.kill(os.getpid(), signal.SIGTERM)


def _announce(context: ProcessContext) -> None:
    """Answers that another model or prompt gave are not given again from now on."""
    try:
        context.ledger.announce_profile(context.part(build_generator).fingerprint)
    except RagError as error:
        logger.warning("profile not announced", next="the first answer announces it", **error.to_log())
