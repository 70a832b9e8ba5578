"""What the models cost."""

from charts.monitoring.panels import WINDOW, Dashboard, Panel, Row
from charts.monitoring.promql import rate, total
from charts.monitoring.queries import DAY, added, rates

__all__ = ["COST"]

COST = Dashboard(
    name="cost",
    title="Cost",
    description="What the models cost, and what was not paid twice. Dollars need MODEL_PRICES.",
    rows=(
        Row(
            title="Money",
            panels=(
                Panel(
                    title="Last 24 h",
                    description="By model, from MODEL_PRICES.",
                    queries=[(added("ragline_cost_usd_total", DAY, "model"), "{{model}}")],
                    unit="currencyUSD",
                    kind="stat",
                ),
                Panel(
                    title="Dollars per hour",
                    description="At the rate of the moment.",
                    queries=[(f"3600 * {total(rate('ragline_cost_usd_total', WINDOW), 'model')}", "{{model}}")],
                    unit="currencyUSD",
                ),
                Panel(
                    title="Dollars per 1,000 answers",
                    description="All models together, over the last hour.",
                    queries=[
                        (
                            f"1000 * {added('ragline_cost_usd_total', '1h')} / "
                            + added('ragline_jobs_ended_total{kind="query", state="succeeded"}', "1h"),
                            "per 1,000 answers",
                        )
                    ],
                    unit="currencyUSD",
                ),
            ),
        ),
        Row(
            title="Tokens",
            panels=(
                Panel(
                    title="Tokens in 24 h",
                    description="By model and type.",
                    queries=[(added("ragline_tokens_total", DAY, "model", "type"), "{{model}} {{type}}")],
                    kind="stat",
                ),
                Panel(
                    title="Tokens per second",
                    description="By model and type.",
                    queries=rates("ragline_tokens_total", "model", "type"),
                    unit="ops",
                    stacked=True,
                ),
                Panel(
                    title="Not paid twice",
                    description="Chunks that a version before had already, and answers that were given again.",
                    queries=[
                        (total(rate('ragline_chunks_total{result="kept"}', WINDOW)), "chunks kept"),
                        (total(rate("ragline_cached_answers_total", WINDOW)), "answers given again"),
                    ],
                    unit="ops",
                ),
            ),
        ),
    ),
)
