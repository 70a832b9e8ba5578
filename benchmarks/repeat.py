"""An exact repetition of a question against its first answer, and that no answer outlives a change of its collection.

The model is a stub that takes about a second. The same is measured for answers that are taken from the text without a
model: there the first answer is fast already, and what is saved is the embedder, Chroma and the way through a queue.
"""

import statistics
import time
from collections.abc import Mapping

from benchmarks.support.load import spread
from benchmarks.support.parts import Service, app_server, service
from benchmarks.support.report import Report, Run, main
from tests.support.pdfs import text_pdf

_FIRST_TOKEN_SECONDS = 0.4
_TOKEN_SECONDS = 0.03
_QUESTIONS = 10
_REPETITIONS = 10
_PAGE = "The notice period is three months to the end of a quarter. It is given in writing and signed by both parties."


class _Asking:
    """One collection and its questions."""

    def __init__(self, running: Service) -> None:
        self._running = running
        self.first: list[float] = []
        self.again: list[float] = []

    def change(self, name: str) -> None:
        """Upload one more document."""
        page = f"{_PAGE} This is {name}."
        assert self._running.ended(self._running.upload("benchmark", name, text_pdf([page]))) == "succeeded"

    def compare(self, questions: int) -> None:
        """Ask each question for the first time, then again and again."""
        for number in range(questions):
            question = f"How long is the notice period of contract {number}?"
            self.first.append(self._ask(question, cached=False))
            self.again += [self._ask(question, cached=True) for _ in range(_REPETITIONS)]

    def outlived(self, questions: int) -> int:
        """Answers that were given again although the collection had changed; the collection changes each time."""
        wrong = 0
        for number in range(questions):
            question = f"How long is the notice period of contract {number}?"
            self._send(question)
            assert self._send(question)["cached"]
            self.change(f"new-{number}.pdf")
            wrong += bool(self._send(question)["cached"])
        return wrong

    def _ask(self, question: str, *, cached: bool) -> float:
        began = time.monotonic()
        answer = self._send(question)
        took = time.monotonic() - began
        assert answer["cached"] is cached, answer
        return took

    def _send(self, question: str) -> Mapping[str, object]:
        reply = self._running.client.post("/v1/collections/benchmark/queries", json={"question": question})
        assert reply.status_code == 200, reply.text
        answer: Mapping[str, object] = reply.json()
        return answer


def repeat(this: Run) -> Report:
    """Run it."""
    report = Report("answers", "first, ms", "again, ms", "times faster")
    model_env = {"FIRST_TOKEN_SECONDS": str(_FIRST_TOKEN_SECONDS), "TOKEN_SECONDS": str(_TOKEN_SECONDS)}
    with app_server("benchmarks.support.model:create_model", this.folder / "model.log", model_env) as (model, _):
        provider = {"OPENAI_API_KEY": "stub", "OPENAI_BASE_URL": f"http://127.0.0.1:{model}/v1"}
        for name, settings in (("of a model", provider), ("from the text", {})):
            with service(this.folder / name.replace(" ", "-"), settings) as running:
                asking = _Asking(running)
                asking.change("contract.pdf")
                asking.compare(2 if this.quick else _QUESTIONS)
                wrong = asking.outlived(1 if this.quick else _QUESTIONS)
            faster = statistics.median(asking.first) / statistics.median(asking.again)
            cells = (spread([1000 * seconds for seconds in taken]) for taken in (asking.first, asking.again))
            report.row(name, *cells, f"{faster:.0f}")
            if settings:
                report.target("an exact repetition, times faster than the model's answer", faster, at_least=100)
            report.target(f"answers {name} given again after the collection changed", wrong, at_most=0)
    return report


if __name__ == "__main__":
    main(repeat, title="an exact repetition of a question")
