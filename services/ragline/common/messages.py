"""What travels on the queues: a versioned step message in the envelope that Celery's Redis transport reads.

The envelope is built here, not by kombu, so that one Lua script can change a record and push the message in the same
atomic step. A contract test feeds it to a real worker of the pinned version.
"""

import base64
from typing import Literal

import orjson
from pydantic import BaseModel, ConfigDict

from ragline.common.queues import ROUTES, Step

__all__ = ["DELIVERY_TAG_PLACEHOLDER", "MESSAGE_VERSION", "StepMessage", "step_envelope"]

MESSAGE_VERSION: Literal[1] = 1
"""Raised when the meaning of a message changes; a worker puts back what it does not know."""

DELIVERY_TAG_PLACEHOLDER = "__DELIVERY_TAG__"
"""Replaced in Lua at every dispatch: kombu keys unacknowledged messages by this tag, so two copies must differ."""

_EMPTY_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class StepMessage(BaseModel):
    """Tells a worker which step of which job to claim. Ids only: text, vectors and paths never travel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    v: int = MESSAGE_VERSION
    job_id: str
    step: Step


def step_envelope(message: StepMessage, *, headers: dict[str, str]) -> str:
    """The JSON text to push on the step's queue.

    Parameters
    ----------
    headers
        Extra message headers, such as ``traceparent``; they may not shadow Celery's own.

    Notes
    -----
    Format: kombu's virtual transport (``kombu/transport/virtual/base.py``) around Celery's message protocol 2.
    """
    route = ROUTES[message.step]
    args = [message.model_dump(mode="json")]
    task_id = f"{message.job_id}.{message.step}"
    body = base64.b64encode(orjson.dumps([args, {}, _EMPTY_EMBED])).decode()
    envelope = {
        "body": body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {**headers, **_celery_headers(route.task, task_id, message.job_id)},
        "properties": {
            "correlation_id": task_id,
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": str(route.queue)},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": DELIVERY_TAG_PLACEHOLDER,
        },
    }
    return orjson.dumps(envelope).decode()


def _celery_headers(task: str, task_id: str, job_id: str) -> dict[str, object]:
    return {
        "lang": "py",
        "task": task,
        "id": task_id,
        "root_id": job_id,
        "parent_id": None,
        "group": None,
        "retries": 0,
        "eta": None,
        "expires": None,
        "timelimit": [None, None],
        "argsrepr": f"({task_id!r},)",
        "kwargsrepr": "{}",
        "origin": "ragline",
        "ignore_result": True,
    }
