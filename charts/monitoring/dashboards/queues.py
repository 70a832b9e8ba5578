"""What waits and who works."""

from charts.monitoring.panels import WINDOW, Dashboard, Panel, Row
from charts.monitoring.promql import rate, shared, total
from charts.monitoring.queries import SCALED, gauge, quantiles, rates

__all__ = ["QUEUES"]

QUEUES = Dashboard(
    name="queues-and-scaling",
    title="Queues and scaling",
    description="What waits, who works, and whether the number of workers follows the work.",
    rows=(
        Row(
            title="Queues",
            panels=(
                Panel(
                    title="Waiting",
                    description="Messages and held work. Held: fair shares keep it back, it will have its turn.",
                    queries=[
                        *gauge("ragline_queue_waiting", "queue"),
                        (f"{shared('ragline_queue_held')} > 0", "{{queue}} held"),
                    ],
                ),
                Panel(
                    title="In flight",
                    description="Taken by a worker.",
                    queries=gauge("ragline_queue_in_flight", "queue"),
                ),
                Panel(
                    title="Workers alive",
                    description="A queue may sleep while nothing waits on it.",
                    queries=gauge("ragline_queue_workers", "queue"),
                ),
                Panel(
                    title="Wait for a worker",
                    description="From the queue to the claim; 95 of 100 are faster.",
                    queries=quantiles("ragline_queue_wait_seconds", "queue", shares=(0.95,)),
                    unit="s",
                ),
                Panel(
                    title="Cold starts",
                    description="Work that woke a queue that slept.",
                    queries=rates("ragline_cold_starts_total", "queue"),
                    unit="ops",
                ),
                Panel(
                    title="Queued again",
                    description="`lease_expired`: a worker died; `message_vanished`: Redis lost its message.",
                    queries=rates("ragline_redispatches_total", "reason"),
                    unit="ops",
                ),
            ),
        ),
        Row(
            title="Scaling",
            panels=(
                Panel(
                    title="What KEDA sees",
                    description="The value of each trigger. Needs KEDA's own metrics.",
                    queries=[
                        (
                            f"max by (scaledObject, scaler) (keda_scaler_metrics_value{SCALED})",
                            "{{scaledObject}} {{scaler}}",
                        )
                    ],
                    width=12,
                ),
                Panel(
                    title="KEDA's errors",
                    description="Triggers it could not read. Needs KEDA's own metrics.",
                    queries=[
                        (
                            f"sum by (scaledObject) (rate(keda_scaled_object_errors_total{SCALED}[{WINDOW}]))",
                            "{{scaledObject}}",
                        )
                    ],
                    unit="ops",
                    width=12,
                ),
            ),
        ),
        Row(
            title="Redis",
            panels=(
                Panel(
                    title="Memory",
                    description="At the limit Redis refuses writes; nothing is evicted.",
                    queries=[
                        (shared("ragline_redis_memory_bytes"), "used"),
                        (f"{shared('ragline_redis_memory_limit_bytes')} > 0", "limit"),
                    ],
                    unit="bytes",
                ),
                Panel(
                    title="Connections",
                    description="Of API, workers, Flower and KEDA.",
                    queries=[(shared("ragline_redis_clients"), "clients")],
                ),
                Panel(
                    title="Ledger readable, file written, sweeps",
                    description="1 is well. The sweeper looks for lost work about once a second.",
                    queries=[
                        (shared("ragline_ledger_up"), "ledger readable"),
                        (shared("ragline_redis_aof_ok"), "append-only file written"),
                        (total(rate("ragline_sweeps_total", WINDOW)), "sweeps per second"),
                    ],
                ),
            ),
        ),
    ),
)
