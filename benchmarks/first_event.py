"""How much later than from the model itself the first token of an answer comes.

The model is a stub that waits before its first token. It is asked directly, and through everything: API, Redis, the
worker, the local embedder, Chroma, the model, and back as events. The two take turns; the overhead is the difference
of neighbours. One question at a time: what many cost is a matter of the model's time, not of ours.
"""

import statistics
import time

from benchmarks.support.load import request_bytes, run, spread
from benchmarks.support.parts import app_server, service
from benchmarks.support.report import Report, Run, main
from benchmarks.support.streams import chat_tokens, events, first
from tests.support.pdfs import text_pdf

_FIRST_TOKEN_SECONDS = 0.3
_TOKEN_SECONDS = 0.005
_ROUNDS = 40
_PAGES = [
    "The notice period is three months to the end of a quarter. It is given in writing and signed by both parties.",
    "Invoices are paid within thirty days. Late payment costs interest of five percent a year.",
]


def first_event(this: Run) -> Report:
    """Run it."""
    model_env = {"FIRST_TOKEN_SECONDS": str(_FIRST_TOKEN_SECONDS), "TOKEN_SECONDS": str(_TOKEN_SECONDS)}
    with app_server("benchmarks.support.model:create_model", this.folder / "model.log", model_env) as (model, _):
        provider = {"OPENAI_API_KEY": "stub", "OPENAI_BASE_URL": f"http://127.0.0.1:{model}/v1"}
        with service(this.folder, provider) as running:
            assert running.ended(running.upload("benchmark", "contract.pdf", text_pdf(_PAGES))) == "succeeded"
            run(_through(running.port, -1))
            pairs = [(run(_directly(model)), run(_through(running.port, n))) for n in range(this.rounds(_ROUNDS))]
    overheads = [1000 * (through - direct) for direct, through in pairs]
    report = Report("", "first token, ms", "worst tenth, ms")
    for name, values in (
        ("the model itself", [1000 * direct for direct, _ in pairs]),
        ("through everything", [1000 * through for _, through in pairs]),
        ("overhead of each pair", overheads),
    ):
        report.row(name, spread(values, 1), f"{sorted(values)[int(0.9 * len(values))]:.1f}")
    report.target("median overhead of the first token", statistics.median(overheads), at_most=30, unit=" ms")
    return report


async def _directly(port: int) -> float:
    body = b'{"model": "stub", "stream": true, "messages": [{"role": "user", "content": "How long?"}]}'
    headers = {"Content-Type": "application/json", "Connection": "close"}
    began = time.monotonic()
    tokens = chat_tokens(port, request_bytes("POST", "/v1/chat/completions", headers=headers, body=body))
    return await first(tokens) - began


async def _through(port: int, number: int) -> float:
    body = b'{"question": "How long is the notice period of contract %d?"}' % number
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream", "Connection": "close"}
    began = time.monotonic()
    stream = events(port, request_bytes("POST", "/v1/collections/benchmark/queries", headers=headers, body=body))
    return await first(stream) - began


if __name__ == "__main__":
    main(first_event, title="how much later than the model's own the first token comes")
