"""Answers written by a chat model, from the passages and with citations of them."""

import math
from collections.abc import Callable, Sequence
from contextlib import closing

from ragline.common.errors import ProtocolError, RejectedError, TransientError
from ragline.common.models import Answer, Citation, Passage
from ragline.common.questions import Question
from ragline.pipeline.chat_model import ChatModel, ChatOptions, finish_reason, usage_of
from ragline.pipeline.generators.guard import AnswerGuard
from ragline.pipeline.generators.prompts import NO_ANSWER_TEXT, Prompt, PromptTemplate, new_fence
from ragline.pipeline.generators.writing import MARKER, AnswerWriter
from ragline.pipeline.openai_errors import SERVICE
from ragline.pipeline.text import Span, content_words, sentence_spans

__all__ = ["ChatGenerator"]

_OPERATION = "chat"

_QUOTE_CHARS = 200
"""Length of a quote when no sentence of the passage shares a word with the statement: enough to recognise the place."""

_TOO_LONG = "length"
"""How a service says that the tokens ended before the answer did."""


class ChatGenerator:
    """A `Generator` that asks an OpenAI-compatible chat model. May be used by several threads at once.

    Parameters
    ----------
    model
        Writes the answer.
    template
        What it is told beside question and passages.
    """

    def __init__(self, *, model: ChatModel, template: PromptTemplate) -> None:
        self._model = model
        self._template = template

    @property
    def fingerprint(self) -> str:
        """See `Generator.fingerprint`."""
        return f"chat:{self._model.name}:{self._template.version}"

    @property
    def asks_model(self) -> bool:
        """See `Generator.asks_model`."""
        return True

    def run(self, *, question: Question, passages: Sequence[Passage], on_token: Callable[[str], None]) -> Answer:
        """Have an answer written.

        Parameters
        ----------
        question
            In any language; the answer is in the same one. Its history is not looked at.
        passages
            The only source of the answer.
        on_token
            Called with each piece of text; the pieces together are the answer's text.

        Returns
        -------
        Answer
            A marker such as ``[1]`` in its text stands for the citation of that rank: markers are numbered anew in the
            order of their appearance, and one that names no given passage is left out. Usage counts
            ``prompt_tokens`` and ``completion_tokens``, if the service tells. Not `answered` without passages (the
            model is not asked then) or when the model finds no answer in them.

        Raises
        ------
        TransientError
            No connection, no answer in time, a rate limit, or a failure of the service, also in mid-answer.
        RejectedError
            The service refuses the request: a wrong key or model, no quota, too much text, a content filter. Or the
            answer repeats the instructions, see `AnswerGuard`; or the question allows too few tokens for any text.
        ProtocolError
            The reply cannot be read or is empty.
        """
        if not passages:
            on_token(NO_ANSWER_TEXT)
            return Answer(text=NO_ANSWER_TEXT, answered=False)
        fence = new_fence()
        prompt = self._template.fill(question=question.text, passages=passages, fence=fence)
        known = [question.text, *(passage.text for passage in passages)]
        guard = AnswerGuard(prompt=prompt, fence=fence, known=known, on_token=on_token)
        writer = AnswerWriter(passages=len(passages), on_token=guard.write)
        reason, usage = self._write(prompt, question, writer)
        text = guard.finish()
        _check_end(reason, text)
        return Answer(
            text=text,
            answered=not writer.no_evidence,
            citations=_citations(text, [passages[number - 1] for number in writer.cited]),
            usage=usage,
            truncated=reason == _TOO_LONG,
        )

    def _write(self, prompt: Prompt, question: Question, writer: AnswerWriter) -> tuple[str, dict[str, int]]:
        """Have the model write; why it ended, and what that cost."""
        options = ChatOptions(model=question.model, temperature=question.temperature, max_tokens=question.max_tokens)
        usage: dict[str, int] = {}
        reason = ""
        # Closed at once when the writer raises, so that the service stops writing what nobody reads.
        with closing(self._model.stream(prompt, options, operation=_OPERATION)) as chunks:
            for chunk in chunks:
                writer.write(str(chunk.text))
                reason = finish_reason(chunk) or reason
                usage = usage_of(chunk) or usage
        writer.finish()
        return reason, usage


def _check_end(reason: str, text: str) -> None:
    if not reason:
        raise TransientError(SERVICE, _OPERATION, "the answer broke off")
    if reason == "content_filter":
        raise RejectedError(SERVICE, _OPERATION, "stopped by the service's content filter")
    if not text and reason == _TOO_LONG:
        raise RejectedError(SERVICE, _OPERATION, "the tokens ended before the answer began; allow more of them")
    if not text:
        raise ProtocolError(SERVICE, _OPERATION, "an empty answer")


def _citations(text: str, cited: Sequence[Passage]) -> tuple[Citation, ...]:
    """One citation for each passage, quoting what supports the statement before its first marker."""
    return tuple(_citation(passage, _statement(text, rank)) for rank, passage in enumerate(cited, start=1))


def _statement(text: str, rank: int) -> str:
    before = MARKER.sub("", text.partition(f"[{rank}]")[0])
    spans = sentence_spans(before)
    return before[spans[-1].start :] if spans else ""


def _citation(passage: Passage, statement: str) -> Citation:
    quote = _quote(passage.text, statement)
    return passage.cited(quote.start, quote.end)


def _quote(text: str, statement: str) -> Span:
    """The sentence that shares most words with the statement, else the beginning of the text."""
    wanted = content_words(statement)
    spans = sentence_spans(text)
    scores = [_shared(wanted, content_words(text[span.start : span.end])) for span in spans]
    if any(scores):
        return spans[scores.index(max(scores))]
    if len(text) <= _QUOTE_CHARS:
        return Span(0, len(text))
    blank = max(text.rfind(white, 0, _QUOTE_CHARS + 1) for white in (" ", "\n"))
    return Span(0, blank if blank > 0 else _QUOTE_CHARS)


def _shared(wanted: frozenset[str], words: frozenset[str]) -> float:
    """Grows with the shared words, and falls with the length of the sentence."""
    return len(wanted & words) / math.sqrt(len(words)) if words else 0.0
