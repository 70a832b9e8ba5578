"""What an answer may not hold, whatever a model was talked into: the fence's mark, and the instructions verbatim."""

import re
import unicodedata
from collections.abc import Callable, Sequence

from ragline.common.errors import RejectedError
from ragline.pipeline.generators.prompts import Prompt
from ragline.pipeline.openai_errors import SERVICE

__all__ = ["AnswerGuard"]

_PIECE_CHARS = 60
"""So many letters and digits in a row, about twelve English words, are the instructions and no coincidence."""

_GAP = "\u2026"
"""Stands where a mark was, so that what was on both sides of it cannot make a new mark or marker."""


class AnswerGuard:
    """Passes an answer's text on, without the fence's mark; stops an answer that repeats the instructions.

    The instructions are compared by their letters and digits alone, in compatibility form and without case. What the
    asker can read anyway, in the question or in the passages, is no secret. A model that translates or encodes them
    is not noticed.

    Parameters
    ----------
    prompt
        What the model was told.
    fence
        The mark in it.
    known
        What the asker may read: the question, the passages.
    on_token
        Takes the text that may be shown.
    """

    def __init__(self, *, prompt: Prompt, fence: str, known: Sequence[str], on_token: Callable[[str], None]) -> None:
        self._fence = fence.lower()
        self._core = self._fence.strip("<>")
        self._mark = re.compile(f"<{{0,2}}{self._core}>{{0,2}}", re.IGNORECASE)
        self._secret = _pieces(_letters(self._mark.sub("", prompt.system)))
        self._known = known
        self._on_token = on_token
        self._held = ""
        self._run = ""
        self._passed: list[str] = []

    def finish(self) -> str:
        """Pass on what was held back; the whole text.

        Raises
        ------
        RejectedError
            As `write`.
        """
        self._pass_on(len(self._held))
        return "".join(self._passed)

    def write(self, text: str) -> None:
        """Take a piece of the answer, and pass on what can be no beginning of a mark.

        Raises
        ------
        RejectedError
            The answer repeats the instructions; the piece is not passed on.
        """
        self._held += text
        self._pass_on(len(self._held) - self._unsure())

    def _unsure(self) -> int:
        """How many characters at the end may be the beginning of a mark."""
        for size in range(min(len(self._held), len(self._fence)), 0, -1):
            end = self._held[-size:].lower()
            if any(self._fence[start:].startswith(end) for start in range(self._fence.index(self._core) + 1)):
                return size
        return 0

    def _pass_on(self, end: int) -> None:
        text = self._mark.sub(_GAP, self._held[:end])
        self._held = self._held[end:]
        for letter in _letters(text):
            self._run = (self._run + letter)[-_PIECE_CHARS:]
            if self._run in self._secret and not any(self._run in _letters(known) for known in self._known):
                raise RejectedError(SERVICE, "chat", "the answer repeats the service's instructions")
        if text:
            self._passed.append(text)
            self._on_token(text)


def _letters(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKC", text).casefold() if char.isalnum())


def _pieces(text: str) -> frozenset[str]:
    return frozenset(text[start : start + _PIECE_CHARS] for start in range(len(text) - _PIECE_CHARS + 1))
