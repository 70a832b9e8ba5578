"""How documents become searchable."""

from charts.monitoring.panels import WINDOW, Dashboard, Panel, Row
from charts.monitoring.promql import rate, total
from charts.monitoring.queries import CALLS, JOBS, STEPS, quantiles, rates

__all__ = ["INGESTION"]

INGESTION = Dashboard(
    name="ingestion",
    title="Ingestion",
    description="How documents become searchable, and which stage holds them up.",
    rows=(
        Row(
            title="Documents",
            panels=(
                Panel(
                    title="Ingests that ended",
                    description="By how they ended.",
                    queries=rates('ragline_jobs_ended_total{kind="ingest"}', "state"),
                    unit="ops",
                    stacked=True,
                ),
                Panel(
                    title="Upload to searchable",
                    description="From the upload's 202 to its end, of those that succeeded.",
                    queries=quantiles(f'{JOBS}{{kind="ingest"}}', shares=(0.5, 0.95, 0.99)),
                    unit="s",
                ),
                Panel(
                    title="Ingests that failed, by code",
                    description="Most codes speak of the document: encrypted, no text, too large.",
                    queries=rates('ragline_job_failures_total{kind="ingest"}', "code"),
                    unit="ops",
                ),
            ),
        ),
        Row(
            title="Stages",
            panels=(
                Panel(
                    title="Pages read",
                    description="CPU work of the document workers.",
                    queries=[(total(rate("ragline_pages_total", WINDOW)), "pages")],
                    unit="ops",
                ),
                Panel(
                    title="Chunks",
                    description="Embedded and written, or kept because a version before had them already.",
                    queries=rates("ragline_chunks_total", "result"),
                    unit="ops",
                    stacked=True,
                ),
                Panel(
                    title="Embedding tokens",
                    description="By model.",
                    queries=rates('ragline_tokens_total{type="embedding"}', "model"),
                    unit="ops",
                ),
                Panel(
                    title="Steps, claim to outcome",
                    description="95 of 100 are faster. A step hands its work back after 20 s.",
                    queries=quantiles(STEPS, "step", shares=(0.95,)),
                    unit="s",
                ),
                Panel(
                    title="Outcomes of steps",
                    description="`lost`: the worker died; `retried`: a part was away; `handed_back`: 20 s were over.",
                    queries=rates("ragline_steps_total", "queue", "outcome"),
                    unit="ops",
                ),
                Panel(
                    title="Embeddings, Chroma, object store",
                    description="How long calls take; 95 of 100 are faster.",
                    queries=quantiles(
                        f'{CALLS}{{dependency=~"embeddings|chroma|object_store"}}',
                        "dependency",
                        "operation",
                        shares=(0.95,),
                    ),
                    unit="s",
                ),
            ),
        ),
    ),
)
