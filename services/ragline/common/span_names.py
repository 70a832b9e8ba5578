"""Names of all spans and of what they say: the one place to change when a convention does.

HTTP and databases follow OpenTelemetry's semantic conventions; those of messaging and ``gen_ai.*`` are still in
development. What has no convention begins with ``ragline.``. Spans of a step are named after it, such as ``index``.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias

__all__ = [
    "ACCEPT",
    "ATTEMPT",
    "CLAIM",
    "COLD_START",
    "DB_OPERATION",
    "DB_SYSTEM",
    "DOCUMENT_ID",
    "ERROR_TYPE",
    "GEN_AI_DIMENSIONS",
    "GEN_AI_FINISH_REASONS",
    "GEN_AI_INPUT_MESSAGES",
    "GEN_AI_INPUT_TOKENS",
    "GEN_AI_MAX_TOKENS",
    "GEN_AI_MODEL",
    "GEN_AI_OPERATION",
    "GEN_AI_OUTPUT_MESSAGES",
    "GEN_AI_OUTPUT_TOKENS",
    "GEN_AI_PROVIDER",
    "GEN_AI_SYSTEM_INSTRUCTIONS",
    "GEN_AI_TEMPERATURE",
    "HTTP_METHOD",
    "HTTP_ROUTE",
    "HTTP_STATUS",
    "JOB_ID",
    "KIND",
    "LEASE_LOST",
    "LINK",
    "MESSAGING_DESTINATION",
    "MESSAGING_SYSTEM",
    "OUTCOME",
    "PREVIOUS_ATTEMPT",
    "QUEUE_WAIT",
    "REQUEST_ID",
    "TENANT",
    "TEXTS",
    "UNMATCHED",
    "WORKER",
    "Dependency",
    "SpanKind",
    "Value",
    "call_name",
]

Value: TypeAlias = str | bool | int | float | tuple[str, ...]
"""What an attribute may be."""


class Dependency(StrEnum):
    """Another part that we call; also a label of metrics."""

    REDIS = "redis"
    CHROMA = "chroma"
    OBJECT_STORE = "object_store"
    EMBEDDINGS = "embeddings"
    CHAT = "chat"


class SpanKind(StrEnum):
    """On which side of a call a span is."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    CONSUMER = "consumer"


ACCEPT = "accept"
"""The ledger's atomic call that records work and queues it."""

QUEUE_WAIT = "queue wait"
"""From the moment at which a step was put on its queue until a worker claimed it."""

COLD_START = "cold start"
"""Within a queue wait: until a worker of the queue was there at all."""

CLAIM = "claim"
"""The ledger's call that gives a step to a worker."""

UNMATCHED = "unmatched"
"""The route of a request that no handler was found for."""

ERROR_TYPE = "error.type"

HTTP_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_STATUS = "http.response.status_code"

MESSAGING_SYSTEM = "messaging.system"
MESSAGING_DESTINATION = "messaging.destination.name"

DB_SYSTEM = "db.system.name"
DB_OPERATION = "db.operation.name"

GEN_AI_OPERATION = "gen_ai.operation.name"
GEN_AI_PROVIDER = "gen_ai.provider.name"
GEN_AI_MODEL = "gen_ai.request.model"
GEN_AI_MAX_TOKENS = "gen_ai.request.max_tokens"
GEN_AI_TEMPERATURE = "gen_ai.request.temperature"
GEN_AI_DIMENSIONS = "gen_ai.embeddings.dimension.count"
GEN_AI_FINISH_REASONS = "gen_ai.response.finish_reasons"
GEN_AI_INPUT_TOKENS = "gen_ai.usage.input_tokens"
GEN_AI_OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
GEN_AI_SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
"""With the two below the only ones that hold text, and only when ``TRACE_CONTENT`` is on."""
GEN_AI_INPUT_MESSAGES = "gen_ai.input.messages"
GEN_AI_OUTPUT_MESSAGES = "gen_ai.output.messages"

REQUEST_ID = "ragline.request_id"
TENANT = "ragline.tenant"
JOB_ID = "ragline.job_id"
KIND = "ragline.kind"
DOCUMENT_ID = "ragline.document_id"
ATTEMPT = "ragline.attempt"
OUTCOME = "ragline.outcome"
WORKER = "ragline.worker"
TEXTS = "ragline.texts"

LEASE_LOST = "lease_lost"
"""The error of an attempt whose worker was lost."""

LINK = "ragline.link"
"""Of a link: what the other span is to this one."""
PREVIOUS_ATTEMPT = "previous_attempt"


def call_name(dependency: Dependency, operation: str, attributes: Mapping[str, Value]) -> str:
    """The name of a span around a call: of a model ``chat gpt-4o-mini``, else ``chroma query``."""
    if GEN_AI_OPERATION in attributes:
        return f"{attributes[GEN_AI_OPERATION]} {attributes.get(GEN_AI_MODEL, '')}".rstrip()
    return f"{dependency} {operation}"
