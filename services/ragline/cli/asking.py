"""`ragline ask`: a streamed answer and what it rests on."""

from collections.abc import Iterable

import httpx2
from rich.console import Console
from rich.text import Text

from ragline.cli.failures import ApiFailure
from ragline.cli.replies import Answer, Citation, Failure, Progress, event_data, understood

__all__ = ["print_citations", "read_answer"]


def print_citations(answer: Answer, console: Console) -> None:
    """List what the answer rests on, or say that it rests on nothing."""
    console.print()
    if not answer.citations:
        console.print("The collection holds no evidence for an answer.", style="yellow")
    for number, citation in enumerate(answer.citations, start=1):
        where = f"[{number}] {citation.document}, page {citation.page}: "
        quote = " ".join(citation.quote.split())
        console.print(Text.assemble((where, "bold cyan"), f'"{quote}"'), soft_wrap=True)


def read_answer(events: Iterable[httpx2.ServerSentEvent], console: Console) -> Answer:
    """Print the answer while it comes.

    Raises
    ------
    ApiFailure
        The question failed, was cancelled, or its stream broke off.
    """
    text: list[str] = []
    citations: list[Citation] = []
    job_id = ""
    for event in events:
        data = event_data(event)
        match event.event:
            case "job":
                job_id = event.data
            case "token":
                text.append(str(data.get("text", "")))
                console.out(text[-1], end="", highlight=False)
            case "citation":
                citations.append(understood(Citation, data))
            case "progress" if text and understood(Progress, data).attempt:
                console.print("\n(the answer begins anew)", style="yellow")
                text.clear()
                citations.clear()
            case "error":
                raise _failure(understood(Failure, data), job_id)
            case "done":
                console.out("")
                return _ended(str(data.get("state")), Answer(text="".join(text), citations=tuple(citations)))
            case _:
                pass
    raise ApiFailure("The stream ended before the answer did; ask again")


def _ended(state: str, answer: Answer) -> Answer:
    if state == "succeeded":
        return answer
    raise ApiFailure(f"The question was {state}", code=state)


def _failure(failure: Failure, job_id: str) -> ApiFailure:
    said = ": ".join(part for part in (failure.title or "The question failed", failure.detail) if part)
    where = f", job {job_id}" if job_id else ""
    return ApiFailure(f"{said} (code {failure.code}{where})", code=failure.code)
