"""Answers written by a chat model, from the passages and with citations of them."""

import math
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import closing

from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from ragline.common.errors import ProtocolError, RejectedError, TransientError
from ragline.common.models import Answer, Citation, Passage
from ragline.pipeline.generators.prompts import NO_ANSWER_TEXT, NO_EVIDENCE, Prompt, build_prompt, new_fence
from ragline.pipeline.openai_errors import SERVICE, openai_errors
from ragline.pipeline.text import Span, content_words, sentence_spans

__all__ = ["ChatGenerator"]

_OPERATION = "chat"

_QUOTE_CHARS = 200
"""Length of a quote when no sentence of the passage shares a word with the statement: enough to recognise the place."""

_MARKER = re.compile(r"\s*\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
"""A citation marker such as ``[2]`` or ``[1, 3]`` with the white space before it; years have four digits."""

_MAYBE_MARKER = re.compile(r"\s*(?:\[[\d\s,;]{0,30})?\Z")
"""White space and the beginning of a marker at the end of what has come so far."""

_DECORATION = " \t\r\n*_`\"'#>-:.,"
"""What models put around a fixed word."""

# What langchain's reading of a malformed chunk ends in; it has no error of its own for that.
_UNREADABLE = (AttributeError, IndexError, KeyError, TypeError, ValueError)


class ChatGenerator:
    """A `Generator` that asks an OpenAI-compatible chat model.

    It does not retry: the ledger decides about that. May be used by several threads at once.

    Parameters
    ----------
    base_url
        Such as ``https://api.openai.com/v1``; ``/chat/completions`` is asked, with streaming and usage.
    api_key
        Sent as bearer token.
    model
        The model's name at the service.
    timeout_seconds
        Longest silence of the service, and longest time to connect.
    """

    def __init__(self, *, base_url: str, api_key: str, model: str, timeout_seconds: float) -> None:
        self._model = ChatOpenAI(
            openai_api_base=base_url,
            openai_api_key=SecretStr(api_key),
            model_name=model,
            request_timeout=timeout_seconds,
            max_retries=0,
            streaming=True,
            stream_usage=True,
            # Compatible servers know chat completions only.
            use_responses_api=False,
        )

    def run(self, *, question: str, passages: Sequence[Passage], on_token: Callable[[str], None]) -> Answer:
        """Have an answer written.

        Parameters
        ----------
        question
            In any language; the answer is in the same one.
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
            The service refuses the request: a wrong key or model, no quota, too much text, a content filter.
        ProtocolError
            The reply cannot be read or is empty.
        """
        if not passages:
            on_token(NO_ANSWER_TEXT)
            return Answer(text=NO_ANSWER_TEXT, answered=False)
        writer = _AnswerWriter(passages=len(passages), on_token=on_token)
        usage: dict[str, int] = {}
        finish_reason = ""
        # Closed at once when `on_token` raises, so that the service stops writing what nobody reads.
        with closing(self._chunks(build_prompt(question=question, passages=passages, fence=new_fence()))) as chunks:
            for chunk in chunks:
                writer.write(str(chunk.text))
                finish_reason = chunk.response_metadata.get("finish_reason") or finish_reason
                usage = _usage(chunk) or usage
        text = writer.finish()
        _check_end(finish_reason, text)
        cited = [passages[number - 1] for number in writer.cited]
        return Answer(text=text, answered=not writer.no_evidence, citations=_citations(text, cited), usage=usage)

    def _chunks(self, prompt: Prompt) -> Generator[AIMessageChunk, None, None]:
        messages = [SystemMessage(prompt.system), HumanMessage(prompt.user)]
        try:
            with openai_errors(_OPERATION):
                yield from self._model.stream(messages)
        except _UNREADABLE:
            raise ProtocolError(SERVICE, _OPERATION, "the reply cannot be read") from None


class _AnswerWriter:
    """Passes the model's text on, without the no-evidence word and with citation markers in order.

    Attributes
    ----------
    cited
        Numbers of the passages in the order of their first citation.
    no_evidence
        Whether the text began with the no-evidence word.
    """

    def __init__(self, *, passages: int, on_token: Callable[[str], None]) -> None:
        self.cited: list[int] = []
        self.no_evidence = False
        self._passages = passages
        self._on_token = on_token
        self._begun = False
        self._held = ""
        self._written: list[str] = []

    def finish(self) -> str:
        """Write what was held back; the whole text."""
        if not self._begun:
            self._begin(complete=True)
        if self.no_evidence and not self._written and not self._held.strip():
            self._held = NO_ANSWER_TEXT
        self._pass_on(len(self._held.rstrip()))
        return "".join(self._written)

    def write(self, text: str) -> None:
        """Take one piece of the model's text."""
        self._held += text
        if not self._begun:
            self._begin(complete=False)
        if self._begun and (unsure := _MAYBE_MARKER.search(self._held)):
            self._pass_on(unsure.start())

    def _begin(self, *, complete: bool) -> None:
        """Look for the no-evidence word, and drop it with what decorates it."""
        head = self._held.lstrip(_DECORATION)
        if not self.no_evidence and head.startswith(NO_EVIDENCE):
            self.no_evidence = True
            head = head.removeprefix(NO_EVIDENCE).lstrip(_DECORATION)
        if self.no_evidence:
            self._held = head
            self._begun = bool(head)
        elif complete or not NO_EVIDENCE.startswith(head):
            self._held = self._held.lstrip()
            self._begun = True

    def _pass_on(self, end: int) -> None:
        text = _MARKER.sub(self._renumbered, self._held[:end])
        self._held = self._held[end:]
        if text:
            self._written.append(text)
            self._on_token(text)

    def _renumbered(self, marker: re.Match[str]) -> str:
        numbers = [int(number) for number in re.findall(r"\d+", marker[1])]
        known = [number for number in numbers if 1 <= number <= self._passages and not self.no_evidence]
        self.cited.extend(number for number in dict.fromkeys(known) if number not in self.cited)
        if not known:
            return ""
        blank = marker[0][: marker[0].index("[")]
        return blank + "".join(f"[{self.cited.index(number) + 1}]" for number in dict.fromkeys(known))


def _usage(chunk: AIMessageChunk) -> dict[str, int]:
    usage = chunk.usage_metadata
    return {"prompt_tokens": usage["input_tokens"], "completion_tokens": usage["output_tokens"]} if usage else {}


def _check_end(finish_reason: str, text: str) -> None:
    if not finish_reason:
        raise TransientError(SERVICE, _OPERATION, "the answer broke off")
    if finish_reason == "content_filter":
        raise RejectedError(SERVICE, _OPERATION, "stopped by the service's content filter")
    if not text:
        raise ProtocolError(SERVICE, _OPERATION, "an empty answer")


def _citations(text: str, cited: Sequence[Passage]) -> tuple[Citation, ...]:
    """One citation for each passage, quoting what supports the statement before its first marker."""
    return tuple(_citation(passage, _statement(text, rank)) for rank, passage in enumerate(cited, start=1))


def _statement(text: str, rank: int) -> str:
    before = _MARKER.sub("", text.partition(f"[{rank}]")[0])
    spans = sentence_spans(before)
    return before[spans[-1].start :] if spans else ""


def _citation(passage: Passage, statement: str) -> Citation:
    quote = _quote(passage.text, statement)
    return Citation(
        document_id=passage.document_id,
        document=passage.document,
        page=passage.page,
        start=passage.start + quote.start,
        end=passage.start + quote.end,
        chunk_id=passage.chunk_id,
        quote=passage.text[quote.start : quote.end],
    )


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
