"""Every metric of the service, declared once. All processes count into one hash of the ledger; the API shows it.

Names and labels are what dashboards, alerts and scalers are made of: see docs/metrics.md, which is written from here.
No ids and no tenants as labels: a series lives for ever.
"""

from collections.abc import Iterable
from itertools import product

from ragline.common.metric_types import Kind, Metric, Source
from ragline.common.models import DocumentState, JobState
from ragline.common.queues import ROUTES, JobKind, Queue

__all__ = [
    "ADMISSION_REFUSALS",
    "CACHED_ANSWERS",
    "CHUNKS",
    "COLD_STARTS",
    "COST",
    "DEPENDENCY_CALLS",
    "DEPENDENCY_DURATION",
    "DOCUMENTS",
    "EVENT_STREAMS_OPEN",
    "HTTP_DURATION",
    "HTTP_REQUESTS",
    "JOBS_ACCEPTED",
    "JOBS_ENDED",
    "JOB_DURATION",
    "JOB_FAILURES",
    "LEDGER_UP",
    "METRICS",
    "PAGES",
    "QUEUE_HELD",
    "QUEUE_IN_FLIGHT",
    "QUEUE_OLDEST_AGE",
    "QUEUE_WAIT",
    "QUEUE_WAITING",
    "QUEUE_WORKERS",
    "RATE_LIMIT_REFUSALS",
    "REDISPATCHES",
    "REDIS_AOF_OK",
    "REDIS_CLIENTS",
    "REDIS_MEMORY",
    "REDIS_MEMORY_LIMIT",
    "STEPS",
    "STEP_DURATION",
    "STEP_OUTCOMES",
    "SWEEPS",
    "TOKENS",
]

_MILLIS = 1_000
_MICROS = 1_000_000
_NANOS = 1_000_000_000


def _each(*values: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(product(*([str(value) for value in some] for some in values)))


_QUEUES = _each(Queue)
_WATCHED_KINDS = _each((JobKind.INGEST, JobKind.QUERY))

STEP_OUTCOMES = ("done", "handed_back", "interrupted", "retried", "failed", "cancelled", "lost")
"""How a claim ended: each claim in exactly one of these ways."""

HTTP_REQUESTS = Metric(
    name="ragline_http_requests_total",
    kind=Kind.COUNTER,
    source=Source.PROCESS,
    help="Requests answered, by route template; `unmatched` for an address that has none. Probes are not counted",
    labels=("method", "route", "status"),
)
HTTP_DURATION = Metric(
    name="ragline_http_request_duration_seconds",
    kind=Kind.HISTOGRAM,
    source=Source.PROCESS,
    help="From a request's arrival to the last byte of its answer, of an event stream to its first",
    labels=("method", "route"),
    unit="seconds",
    bounds=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    per_unit=_MICROS,
)
RATE_LIMIT_REFUSALS = Metric(
    name="ragline_rate_limit_refusals_total",
    kind=Kind.COUNTER,
    source=Source.PROCESS,
    help="Requests refused with 429 by a rate limit",
    labels=("policy",),
    known=_each(("general", "rag")),
)
ADMISSION_REFUSALS = Metric(
    name="ragline_admission_refusals_total",
    kind=Kind.COUNTER,
    source=Source.PROCESS,
    help="Work that was not accepted because too much waits already, or too much was spent",
    labels=("code",),
    known=_each(("backlog_full", "budget_exhausted", "overloaded")),
)
EVENT_STREAMS_OPEN = Metric(
    name="ragline_event_streams_open",
    kind=Kind.GAUGE,
    source=Source.OWN,
    help="Event streams that this API process serves now",
)
JOBS_ACCEPTED = Metric(
    name="ragline_jobs_accepted_total",
    kind=Kind.COUNTER,
    source=Source.LEDGER,
    help="Jobs recorded, those included that needed no work",
    labels=("kind",),
    known=_each(JobKind),
)
JOBS_ENDED = Metric(
    name="ragline_jobs_ended_total",
    kind=Kind.COUNTER,
    source=Source.LEDGER,
    help="Jobs that came to their end",
    labels=("kind", "state"),
    known=_each(JobKind, [state for state in JobState if state.final]),
)
JOB_FAILURES = Metric(
    name="ragline_job_failures_total",
    kind=Kind.COUNTER,
    source=Source.LEDGER,
    help="Jobs that failed, by the code of their error",
    labels=("kind", "code"),
    known=_each(JobKind, ("attempts_exhausted", "quarantined")),
)
JOB_DURATION = Metric(
    name="ragline_job_duration_seconds",
    kind=Kind.HISTOGRAM,
    source=Source.LEDGER,
    help="From a job's acceptance to its success; answers given again count as well",
    labels=("kind",),
    unit="seconds",
    bounds=(0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600),
    per_unit=_MILLIS,
    known=_WATCHED_KINDS,
)
QUEUE_WAITING = Metric(
    name="ragline_queue_waiting",
    kind=Kind.GAUGE,
    source=Source.READ,
    help="Steps that wait for a worker: messages on the queue and held jobs",
    labels=("queue",),
    known=_QUEUES,
)
QUEUE_HELD = Metric(
    name="ragline_queue_held",
    kind=Kind.GAUGE,
    source=Source.READ,
    help="Those of the waiting that are held until their tenant's share of the queue has room",
    labels=("queue",),
    known=_QUEUES,
)
QUEUE_IN_FLIGHT = Metric(
    name="ragline_queue_in_flight",
    kind=Kind.GAUGE,
    source=Source.READ,
    help="Messages that a worker has taken and not finished",
    labels=("queue",),
    known=_QUEUES,
)
QUEUE_WORKERS = Metric(
    name="ragline_queue_workers",
    kind=Kind.GAUGE,
    source=Source.READ,
    help="Workers that are alive",
    labels=("queue",),
    known=_QUEUES,
)
QUEUE_OLDEST_AGE = Metric(
    name="ragline_queue_oldest_age_seconds",
    kind=Kind.GAUGE,
    source=Source.READ,
    help="How long the oldest waiting step has been waiting; 0 when none waits",
    labels=("queue",),
    unit="seconds",
    per_unit=_MILLIS,
    known=_QUEUES,
)
QUEUE_WAIT = Metric(
    name="ragline_queue_wait_seconds",
    kind=Kind.HISTOGRAM,
    source=Source.LEDGER,
    help="From the moment that a step is put on its queue until a worker claims it",
    labels=("queue",),
    unit="seconds",
    bounds=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600),
    per_unit=_MILLIS,
    known=_QUEUES,
)
COLD_STARTS = Metric(
    name="ragline_cold_starts_total",
    kind=Kind.COUNTER,
    source=Source.LEDGER,
    help="Claims of steps that were put on a queue without a living worker",
    labels=("queue",),
    known=_QUEUES,
)
STEP_DURATION = Metric(
    name="ragline_step_duration_seconds",
    kind=Kind.HISTOGRAM,
    source=Source.LEDGER,
    help="From a claim to its end, however it ends",
    labels=("step",),
    unit="seconds",
    bounds=(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120),
    per_unit=_MILLIS,
    known=_each(ROUTES),
)
STEPS = Metric(
    name="ragline_steps_total",
    kind=Kind.COUNTER,
    source=Source.LEDGER,
    help="Claims that ended, by how: `lost` when the lease ran out, `interrupted` when the worker stopped",
    labels=("queue", "step", "outcome"),
    known=tuple((str(route.queue), str(route.step), outcome) for route in ROUTES.values() for outcome in STEP_OUTCOMES),
)
REDISPATCHES = Metric(
    name="ragline_redispatches_total",
    kind=Kind.COUNTER,
    source=Source.LEDGER,
    help="Steps that the sweeper queued again",
    labels=("reason",),
    known=_each(("lease_expired", "message_vanished", "retry_due")),
)
SWEEPS = Metric(
    name="ragline_sweeps_total",
    kind=Kind.COUNTER,
    source=Source.LEDGER,
    help="Sweeps over the ledger; about one a second while an API process is alive",
    known=((),),
)
DOCUMENTS = Metric(
    name="ragline_documents",
    kind=Kind.GAUGE,
    source=Source.LEDGER,
    help="Documents by state",
    labels=("state",),
    known=_each([state for state in DocumentState if state is not DocumentState.DELETED]),
)
CACHED_ANSWERS = Metric(
    name="ragline_cached_answers_total",
    kind=Kind.COUNTER,
    source=Source.LEDGER,
    help="Questions that were answered at once with the answer of an earlier one",
    known=((),),
)
PAGES = Metric(
    name="ragline_pages_total",
    kind=Kind.COUNTER,
    source=Source.PROCESS,
    help="Pages read from documents",
    known=((),),
)
CHUNKS = Metric(
    name="ragline_chunks_total",
    kind=Kind.COUNTER,
    source=Source.PROCESS,
    help="Chunks that were embedded, or kept because the vector store had them already",
    labels=("result",),
    known=_each(("embedded", "kept")),
)
TOKENS = Metric(
    name="ragline_tokens_total",
    kind=Kind.COUNTER,
    source=Source.PROCESS,
    help="Tokens as providers say that they were used: `input` and `output` of chat models, `embedding`",
    labels=("model", "type"),
)
COST = Metric(
    name="ragline_cost_usd_total",
    kind=Kind.COUNTER,
    source=Source.PROCESS,
    help="What these tokens cost by the prices in MODEL_PRICES; nothing for a model without one",
    labels=("model",),
    unit="usd",
    per_unit=_NANOS,
)
DEPENDENCY_CALLS = Metric(
    name="ragline_dependency_calls_total",
    kind=Kind.COUNTER,
    source=Source.PROCESS,
    help="Calls of the parts we rely on: `ok`, `transient` (another try may help), `rejected`, `protocol` (no sense), "
    "`abandoned` by the caller, `defect` of ours",
    labels=("dependency", "operation", "outcome"),
)
DEPENDENCY_DURATION = Metric(
    name="ragline_dependency_duration_seconds",
    kind=Kind.HISTOGRAM,
    source=Source.PROCESS,
    help="How long these calls took, the failed ones included",
    labels=("dependency", "operation"),
    unit="seconds",
    bounds=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    per_unit=_MICROS,
)
REDIS_MEMORY = Metric(
    name="ragline_redis_memory_bytes",
    kind=Kind.GAUGE,
    source=Source.READ,
    help="Memory that Redis uses",
    unit="bytes",
    known=((),),
)
REDIS_MEMORY_LIMIT = Metric(
    name="ragline_redis_memory_limit_bytes",
    kind=Kind.GAUGE,
    source=Source.READ,
    help="Memory that Redis may use; 0 for no limit",
    unit="bytes",
    known=((),),
)
REDIS_AOF_OK = Metric(
    name="ragline_redis_aof_ok",
    kind=Kind.GAUGE,
    source=Source.READ,
    help="1 when Redis keeps an append-only file and its last write and rewrite went well",
    known=((),),
)
REDIS_CLIENTS = Metric(
    name="ragline_redis_clients",
    kind=Kind.GAUGE,
    source=Source.READ,
    help="Connections that Redis serves",
    known=((),),
)
LEDGER_UP = Metric(
    name="ragline_ledger_up",
    kind=Kind.GAUGE,
    source=Source.OWN,
    help="1 when the values of the ledger could be read, 0 when they are missing because Redis is away",
)

METRICS: tuple[Metric, ...] = tuple(
    sorted((value for value in list(globals().values()) if isinstance(value, Metric)), key=lambda metric: metric.name)
)
"""All of them."""
