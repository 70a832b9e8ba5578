"""Fixed numbers, each with its meaning, unit and reason. What differs between environments is in `config` instead."""

from datetime import timedelta
from pathlib import Path

__all__ = [
    "BROKER_TIMEOUT_SECONDS",
    "CHROMA_WRITE_BATCH_CHUNKS",
    "CLAIM_LIMIT",
    "DEFAULT_TENANT",
    "EMBED_JOB_RETENTION",
    "EVENT_STREAM_MAX_EVENTS",
    "FENCE",
    "HEARTBEAT_INTERVAL",
    "INGEST_JOB_RETENTION",
    "JOB_RETENTION",
    "LEASE",
    "LEASE_RENEWAL",
    "MAX_ATTEMPTS",
    "MAX_CRASHES",
    "MAX_DATA_CHARS",
    "MAX_EMBEDDING_CHARS",
    "MAX_EMBEDDING_TEXTS",
    "MAX_NAME_BYTES",
    "MAX_QUESTION_CHARS",
    "MAX_TOP_K",
    "MAX_TRANSIENT_ATTEMPTS",
    "MEASUREMENT_INTERVAL",
    "RETRY_BACKOFF",
    "RETRY_BACKOFF_LIMIT",
    "SECRETS_DIR",
    "STEP_BUDGET",
    "SWEEP_INTERVAL",
    "TENANT_SHARE",
    "TOKEN_FLUSH_INTERVAL",
    "VANISHED_GRACE",
    "VISIBILITY_TIMEOUT",
    "WORKFLOW_LEASE",
]

DEFAULT_TENANT = "default"
"""The owner of everything while no API keys are in use."""

SECRETS_DIR = Path("/run/secrets/ragline")
"""Where a container finds secrets as files: they show in no process list, no `env` and no crash report."""

LEASE = timedelta(seconds=20)
"""How long a claim holds without renewal. Lease + one sweep stays under the promised 30 s to re-dispatch."""

LEASE_RENEWAL = timedelta(seconds=6)
"""A third of the lease: two renewals may fail before the claim is lost."""

CLAIM_LIMIT = timedelta(minutes=10)
"""A claim is not renewed beyond this: a step that hangs must not keep its job for ever. Thirty budgets; the longest
honest step is an answer of a slow model."""

FENCE = timedelta(seconds=30)
"""How long a document's fence holds after a worker died in the middle of a write: longer than a write can last (two
requests of 64 chunks, each bounded by 10 s)."""

SWEEP_INTERVAL = timedelta(seconds=1)
"""Pause between sweeps of the ledger; also the resolution of retry delays."""

VANISHED_GRACE = timedelta(seconds=10)
"""A message that left its queue this long ago without a claim is lost: a claim follows delivery within milliseconds."""

TENANT_SHARE = 16
"""Messages of one tenant on one queue; its other jobs are held in the ledger meanwhile. So a newcomer waits behind 16
jobs of each other tenant, and not behind a thousand. Well above the steps that one worker begins in the milliseconds
between taking a message and claiming its step, when the next held job takes its place."""

STEP_BUDGET = timedelta(seconds=20)
"""A step hands the rest of its work back after this time, so workers are shared fairly and scale in quickly."""

VISIBILITY_TIMEOUT = timedelta(seconds=120)
"""kombu's redelivery of unacknowledged messages. Must be well above `STEP_BUDGET`: a task that outlives it is
delivered again for ever (measured on Celery 5.6.3 with kombu 5.7.0)."""

MAX_ATTEMPTS = 3
"""Starts of one step without progress before the job fails with ``attempts_exhausted``: for what somebody waits for
(answers, embeddings, demo tasks), and for a defect of ours."""

MAX_TRANSIENT_ATTEMPTS = 100
"""The same for work that nobody waits for while a store or model is away: with delays of up to a minute it lasts for
more than an hour, so that an outage fails no document."""

MAX_CRASHES = 3
"""Lost leases of one step before its document is quarantined: it most likely kills its worker."""

RETRY_BACKOFF = timedelta(seconds=1)
"""First delay after a transient failure; doubles each attempt, half of it random (`retry_delay` in the worker)."""

RETRY_BACKOFF_LIMIT = timedelta(seconds=60)
"""Upper bound of a retry delay, a server's Retry-After included."""

WORKFLOW_LEASE = timedelta(seconds=120)
"""How long a demo workflow may take before it is started again; its links are pure, so that is harmless."""

HEARTBEAT_INTERVAL = timedelta(seconds=5)
"""How often a worker says that it is alive; it counts as gone after three intervals."""

MEASUREMENT_INTERVAL = timedelta(seconds=5)
"""How often a process adds what it measured to the metrics of all: what a killed one loses. Prometheus asks every 15 to
60 seconds."""

TOKEN_FLUSH_INTERVAL = timedelta(milliseconds=50)
"""Answer tokens are written to the job's stream in batches of this length, so that an fsync never paces an answer."""

EVENT_STREAM_MAX_EVENTS = 10_000
"""Cap of one job's event stream; an answer of 4,000 tokens makes about 100 events."""

JOB_RETENTION = timedelta(hours=24)
"""A finished job can be asked for this long."""

INGEST_JOB_RETENTION = timedelta(days=7)
"""Finished ingest jobs stay longer: they are what an operator looks for after a weekend."""

EMBED_JOB_RETENTION = timedelta(minutes=2)
"""Finished embeddings of a caller's texts: who asked has waited for them, nobody asks again, and 256 vectors of 3,072
dimensions are 4 MB of Redis's memory."""

BROKER_TIMEOUT_SECONDS = 2.0
"""Bound of one Redis operation: a request to the API is answered 503 within it (promise P4)."""

CHROMA_WRITE_BATCH_CHUNKS = 64
"""Chunks per Chroma write. Readers stall while a batch is applied: p99 98 ms at 50, 550 ms at 250, 7 s at 4,000
(measured, 1536 dimensions)."""

MAX_QUESTION_CHARS = 8_000
"""Longest accepted question; about 2,000 tokens."""

MAX_DATA_CHARS = 100_000
"""Longest accepted ``data`` of ``POST /tasks/process``."""

MAX_EMBEDDING_TEXTS = 256
"""Most texts of one ``POST /v1/embeddings``: 2 MB of vectors at 1,536 dimensions, which pass through Redis."""

MAX_EMBEDDING_CHARS = 20_000
"""Longest text of ``POST /v1/embeddings``; models read 512 to 8,191 tokens of it."""

MAX_TOP_K = 50
"""Most passages one answer may rest on."""

MAX_NAME_BYTES = 255
"""Longest document name in UTF-8 bytes: the usual limit of a file name."""
