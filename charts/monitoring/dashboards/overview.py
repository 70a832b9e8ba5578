"""Whether the service is well."""

from charts.monitoring.objectives import FAILED_CALLS, OBJECTIVES
from charts.monitoring.panels import WINDOW, Dashboard, Panel, Row
from charts.monitoring.promql import rate, total
from charts.monitoring.queries import gauge, kept, rates

__all__ = ["OVERVIEW"]

OVERVIEW = Dashboard(
    name="overview",
    title="Overview",
    description="Is the service well? If not, the row that is not says where to look next.",
    rows=(
        Row(
            title="Promises",
            panels=(
                Panel(
                    title="Alerts that fire",
                    description="The name of each is the name of its page in docs/runbooks.",
                    queries=[('count(ALERTS{alertname=~"Ragline.+", alertstate="firing"}) or vector(0)', "alerts")],
                    kind="stat",
                    width=6,
                    height=4,
                ),
                *(
                    Panel(
                        title=f"{objective.name}: kept in 24 h",
                        description=f"{objective.promise}: {objective.share_percent:g} % are promised.",
                        queries=[(kept(objective.name), objective.name)],
                        unit="percentunit",
                        kind="stat",
                        width=6,
                        height=4,
                    )
                    for objective in OBJECTIVES
                ),
            ),
        ),
        Row(
            title="Use",
            panels=(
                Panel(
                    title="Requests by status",
                    description="What the API answered.",
                    queries=rates("ragline_http_requests_total", "status"),
                    unit="reqps",
                    stacked=True,
                ),
                Panel(
                    title="Jobs accepted",
                    description="Work that was promised, by kind.",
                    queries=rates("ragline_jobs_accepted_total", "kind"),
                    unit="ops",
                    stacked=True,
                ),
                Panel(
                    title="Documents by state",
                    description="`failed` documents need somebody; all others are on their way or done.",
                    queries=gauge("ragline_documents", "state"),
                    stacked=True,
                ),
            ),
        ),
        Row(
            title="Health",
            panels=(
                Panel(
                    title="Jobs that failed, by code",
                    description="docs/errors.md says whose fault each code is.",
                    queries=rates("ragline_job_failures_total", "kind", "code"),
                    unit="ops",
                ),
                Panel(
                    title="Oldest waiting job",
                    description="By queue; 0 when nothing waits.",
                    queries=gauge("ragline_queue_oldest_age_seconds", "queue"),
                    unit="s",
                ),
                Panel(
                    title="Calls that failed",
                    description="Of Redis, Chroma, the object store and the models.",
                    queries=[
                        (
                            total(
                                rate(f"ragline_dependency_calls_total{{{FAILED_CALLS}}}", WINDOW),
                                "dependency",
                                "outcome",
                            ),
                            "{{dependency}} {{outcome}}",
                        )
                    ],
                    unit="ops",
                ),
            ),
        ),
    ),
)
