"""The alerts: few, each one a reason to look, each with a page in docs/runbooks."""

from collections.abc import Mapping, Sequence

from charts.monitoring.objectives import FAILED_CALLS, FAULTS, burn_alerts, burn_records
from charts.monitoring.promql import Clock, grown, quantile, rate, shared, total
from charts.monitoring.rules import Alert, Record

__all__ = ["every_alert", "rule_groups"]

MODELS = "chat|embeddings"
STORES = "chroma|object_store"

_CALLS = "ragline_dependency_calls_total"
_HERE = "and on (namespace) ragline_ledger_up"
"""Only where Ragline runs: volumes and scalers of others are not our business."""


def rule_groups(clock: Clock) -> dict[str, Sequence[Alert | Record]]:
    """Every rule, in its groups."""
    return {
        "ragline-objectives": [*burn_records(clock), *burn_alerts(clock)],
        "ragline-work": [*_queues(clock), *_failures(clock)],
        "ragline-parts": [*_ledger(clock), *_dependencies(clock), *_cluster(clock)],
    }


def every_alert(clock: Clock | None = None) -> Mapping[str, list[Alert]]:
    """The alerts by name; one name may stand for two severities."""
    found: dict[str, list[Alert]] = {}
    for rules in rule_groups(clock or Clock()).values():
        for rule in rules:
            if isinstance(rule, Alert):
                found.setdefault(rule.name, []).append(rule)
    return found


def _queues(clock: Clock) -> list[Alert]:
    workers = shared("ragline_queue_workers")
    waiting, in_flight = shared("ragline_queue_waiting"), shared("ragline_queue_in_flight")
    questions = shared('ragline_queue_oldest_age_seconds{queue="rag"}')
    documents = shared('ragline_queue_oldest_age_seconds{queue!="rag"}')
    return [
        Alert(
            name="RaglineQueueBehind",
            severity="critical",
            expr=f"{questions} > {clock.seconds(30):g}",
            wait=clock.span(minutes=2),
            summary="The oldest question has waited for {{ $value | humanizeDuration }}",
            meaning="People sit in front of questions that nobody has begun to answer.",
        ),
        Alert(
            name="RaglineQueueBehind",
            severity="warning",
            expr=f"{documents} > {clock.seconds(1800):g}",
            wait=clock.span(minutes=5),
            summary="The oldest job on {{ $labels.queue }} has waited for {{ $value | humanizeDuration }}",
            meaning="New documents are ready for questions much later than people are used to.",
        ),
        Alert(
            name="RaglineQueueAsleep",
            severity="critical",
            expr=f"{waiting} > 0 and {workers} == 0",
            wait=clock.span(minutes=3),
            summary="{{ $value }} jobs wait on {{ $labels.queue }} and no worker is alive",
            meaning="Nothing of this queue gets done until a worker wakes up; nothing is lost.",
        ),
        Alert(
            name="RaglineWorkOrphaned",
            severity="critical",
            expr=f"{in_flight} > 0 and {workers} == 0",
            wait=clock.span(minutes=3),
            summary="{{ $value }} messages of {{ $labels.queue }} were taken by workers that are gone",
            meaning="Work that had begun stands still: its workers died and none came after them.",
        ),
    ]


def _failures(clock: Clock) -> list[Alert]:
    window = clock.span(minutes=15)
    # What is quarantined has an alert of its own.
    codes = "|".join(code for code in FAULTS if code != "quarantined")
    failed = grown(f'ragline_job_failures_total{{code=~"{codes}"}}', window)
    set_aside = grown('ragline_job_failures_total{code="quarantined"}', window)
    lost = grown('ragline_redispatches_total{reason=~"lease_expired|message_vanished"}', window)
    refused = grown("ragline_admission_refusals_total", window)
    return [
        Alert(
            name="RaglineDocumentsQuarantined",
            severity="warning",
            expr=f"{total(set_aside, 'kind')} > 0",
            wait="0s",
            summary="{{ $value }} jobs ({{ $labels.kind }}) were set aside: workers died of them three times",
            meaning="These documents are not searchable, and trying them again would kill workers again.",
        ),
        Alert(
            name="RaglineWorkFailing",
            severity="warning",
            expr=f"{total(failed, 'kind', 'code')} >= 3",
            wait="0s",
            summary="{{ $value }} jobs ({{ $labels.kind }}) failed with {{ $labels.code }} in 15 minutes",
            meaning="Documents or questions ended as failed through no fault of their own.",
        ),
        Alert(
            name="RaglineLeasesLost",
            severity="warning",
            expr=f"{total(lost, 'reason')} >= 3",
            wait="0s",
            summary="{{ $value }} steps were begun again in 15 minutes: {{ $labels.reason }}",
            meaning="Work takes longer than it should: workers die or freeze in the middle of it.",
        ),
        Alert(
            name="RaglineWorkRefused",
            severity="warning",
            expr=f"{total(refused, 'code')} >= 10",
            wait="0s",
            summary="{{ $value }} requests were refused in 15 minutes: {{ $labels.code }}",
            meaning="Callers get 429 or 503 and have to come back later, though their requests were fine.",
        ),
    ]


def _ledger(clock: Clock) -> list[Alert]:
    up, used = shared("ragline_ledger_up"), shared("ragline_redis_memory_bytes")
    share = f"({used} / ({shared('ragline_redis_memory_limit_bytes')} > 0))"
    return [
        Alert(
            name="RaglineMetricsAbsent",
            severity="critical",
            expr="absent(ragline_ledger_up)",
            wait=clock.span(minutes=5),
            summary="No API process shows metrics",
            meaning="The API is down or cannot be scraped: nobody would notice any other trouble.",
        ),
        Alert(
            name="RaglineLedgerUnreadable",
            severity="critical",
            expr=f"{up} == 0",
            wait=clock.span(minutes=1),
            summary="No API process can read the ledger in Redis",
            meaning="Uploads and questions are answered 503; work that was accepted stands still and is not lost.",
        ),
        Alert(
            name="RaglineRedisMemoryHigh",
            severity="warning",
            expr=f"{share} > 0.8",
            wait=clock.span(minutes=10),
            summary="Redis uses {{ $value | humanizePercentage }} of the memory it may use",
            meaning="At the limit Redis refuses writes: nothing more is accepted and no step ends.",
        ),
        Alert(
            name="RaglineRedisMemoryHigh",
            severity="critical",
            expr=f"{share} > 0.95",
            wait=clock.span(minutes=1),
            summary="Redis uses {{ $value | humanizePercentage }} of the memory it may use",
            meaning="Redis is about to refuse writes: nothing more would be accepted and no step would end.",
        ),
        Alert(
            name="RaglineRedisPersistenceFailing",
            severity="critical",
            expr=f"{shared('ragline_redis_aof_ok')} == 0",
            wait=clock.span(minutes=2),
            summary="Redis cannot write or rewrite its append-only file",
            meaning="Nothing is lost yet; if Redis ended now, it might come back without its last work, or not at all.",
        ),
    ]


def _dependencies(clock: Clock) -> list[Alert]:
    window = clock.span(minutes=5)
    chat = quantile(0.95, 'ragline_dependency_duration_seconds{dependency="chat"}', window, "dependency")
    embeddings = quantile(0.95, 'ragline_dependency_duration_seconds{dependency="embeddings"}', window, "dependency")
    return [
        Alert(
            name="RaglineModelFailing",
            severity="warning",
            expr=_failing(MODELS, window, clock),
            wait=clock.span(minutes=5),
            summary="{{ $value | humanizePercentage }} of the calls of {{ $labels.dependency }} fail",
            meaning="Answers fail or come late, or documents wait until the model answers again.",
        ),
        Alert(
            name="RaglineModelSlow",
            severity="warning",
            expr=f"{chat} > {clock.seconds(30):g} or {embeddings} > {clock.seconds(10):g}",
            wait=clock.span(minutes=10),
            summary="One in twenty calls of {{ $labels.dependency }} takes more than {{ $value | humanizeDuration }}",
            meaning="Answers come late, or documents take long to become ready, because of the model.",
        ),
        Alert(
            name="RaglineStoreFailing",
            severity="critical",
            expr=_failing(STORES, window, clock),
            wait=clock.span(minutes=2),
            summary="{{ $value | humanizePercentage }} of the calls of {{ $labels.dependency }} fail",
            meaning="Questions are answered 503 and documents wait: a store that they need does not do its part.",
        ),
    ]


def _failing(dependencies: str, window: str, clock: Clock) -> str:
    """The share of calls that failed, where it is high and the calls are many enough to say so."""
    calls = total(rate(f'{_CALLS}{{dependency=~"{dependencies}"}}', window), "dependency")
    failed = total(rate(f'{_CALLS}{{dependency=~"{dependencies}", {FAILED_CALLS}}}', window), "dependency")
    return f"{failed} / {calls} > 0.2 and {failed} * {clock.seconds(300):g} >= 3"


def _cluster(clock: Clock) -> list[Alert]:
    claims = '{persistentvolumeclaim=~".*(chroma|redis|object-store).*"}'
    free = f"kubelet_volume_stats_available_bytes{claims} / kubelet_volume_stats_capacity_bytes{claims}"
    full = f"max by (namespace, persistentvolumeclaim) (1 - {free})"
    errors = f'rate(keda_scaled_object_errors_total{{scaledObject=~".+-worker-.+"}}[{clock.span(minutes=5)}])'
    # Prometheus calls the label so when KEDA is scraped without honorLabels, as KEDA's own chart does it.
    ours = f'label_replace({errors}, "namespace", "$1", "exported_namespace", "(.+)")'
    return [
        Alert(
            name="RaglineVolumeFull",
            severity="warning",
            expr=f"{full} > 0.8 {_HERE}",
            wait=clock.span(minutes=10),
            summary="The volume {{ $labels.persistentvolumeclaim }} is {{ $value | humanizePercentage }} full",
            meaning="When it is full, documents fail or wait (Chroma, object store), or nothing is accepted (Redis).",
        ),
        Alert(
            name="RaglineVolumeFull",
            severity="critical",
            expr=f"{full} > 0.95 {_HERE}",
            wait=clock.span(minutes=2),
            summary="The volume {{ $labels.persistentvolumeclaim }} is {{ $value | humanizePercentage }} full",
            meaning="It is about to be full: documents would fail or wait, or nothing would be accepted.",
        ),
        Alert(
            name="RaglineScalerFailing",
            severity="warning",
            expr=f"max by (namespace, scaledObject) ({ours}) > 0 {_HERE}",
            wait=clock.span(minutes=5),
            summary="KEDA cannot read what {{ $labels.scaledObject }} is scaled on",
            meaning="The number of workers does not follow the work: a queue that sleeps is not woken.",
        ),
    ]
