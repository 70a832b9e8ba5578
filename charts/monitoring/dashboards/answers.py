"""How fast questions are answered."""

from charts.monitoring.panels import WINDOW, Dashboard, Panel, Row
from charts.monitoring.promql import rate, total
from charts.monitoring.queries import CALLS, JOBS, quantiles, rates

__all__ = ["ANSWERS"]

ANSWERS = Dashboard(
    name="answers",
    title="Answers",
    description="How fast questions are answered, and what makes them wait.",
    rows=(
        Row(
            title="Questions",
            panels=(
                Panel(
                    title="Questions that ended",
                    description="By how they ended; `cancelled`: the reader left.",
                    queries=rates('ragline_jobs_ended_total{kind="query"}', "state"),
                    unit="ops",
                    stacked=True,
                ),
                Panel(
                    title="Question to answer",
                    description="Accepted to ended, of those that succeeded.",
                    queries=quantiles(f'{JOBS}{{kind="query"}}', shares=(0.5, 0.95, 0.99)),
                    unit="s",
                ),
                Panel(
                    title="Wait for a worker",
                    description="From the queue to the claim. Much of it: more `rag` pods.",
                    queries=quantiles('ragline_queue_wait_seconds{queue="rag"}'),
                    unit="s",
                ),
            ),
        ),
        Row(
            title="What an answer is made of",
            panels=(
                Panel(
                    title="Chat model",
                    description="How long its calls take.",
                    queries=quantiles(f'{CALLS}{{dependency="chat"}}', "operation"),
                    unit="s",
                ),
                Panel(
                    title="Search in Chroma",
                    description="95 of 100 calls are faster.",
                    queries=quantiles(f'{CALLS}{{dependency="chroma"}}', "operation", shares=(0.95,)),
                    unit="s",
                ),
                Panel(
                    title="Tokens",
                    description="In and out of the chat model.",
                    queries=rates('ragline_tokens_total{type=~"input|output"}', "model", "type"),
                    unit="ops",
                    stacked=True,
                ),
            ),
        ),
        Row(
            title="At the door",
            panels=(
                Panel(
                    title="Requests, by route",
                    description="95 of 100 answers are faster; of a stream, its beginning.",
                    queries=quantiles("ragline_http_request_duration_seconds", "method", "route", shares=(0.95,)),
                    unit="s",
                ),
                Panel(
                    title="Refused",
                    description="By a rate limit, a full backlog or a used-up budget.",
                    queries=[
                        *rates("ragline_rate_limit_refusals_total", "policy"),
                        *rates("ragline_admission_refusals_total", "code"),
                    ],
                    unit="ops",
                ),
                Panel(
                    title="Answers given again, open streams",
                    description="Answers that cost nothing, per second; streams that are open in all processes.",
                    queries=[
                        (total(rate("ragline_cached_answers_total", WINDOW)), "given again per second"),
                        (total("ragline_event_streams_open"), "open streams"),
                    ],
                ),
            ),
        ),
    ),
)
