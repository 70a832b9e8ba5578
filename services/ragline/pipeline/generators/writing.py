"""A chat model's text on its way to the reader: the word for no evidence goes, citation markers are put in order."""

import re
from collections.abc import Callable

from ragline.pipeline.generators.prompts import NO_ANSWER_TEXT, NO_EVIDENCE

__all__ = ["MARKER", "AnswerWriter"]

MARKER = re.compile(r"\s*\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
"""A citation marker such as ``[2]`` or ``[1, 3]`` with the white space before it; years have four digits."""

_MAYBE_MARKER = re.compile(r"\s*(?:\[[\d\s,;]{0,30})?\Z")
"""White space and the beginning of a marker at the end of what has come so far."""

_OPEN_MARKER = re.compile(r"\[[\d\s,;]*\Z")
"""A marker that waits for more numbers and its end."""

_GAP = "\u2026"
"""Stands where a marker was inside another one: without it the outer one would become whole, and cite by itself."""

_DECORATION = " \t\r\n*_`\"'#>-:.,"
"""What models put around a fixed word."""

_TELLTALE = "NO_"
"""Nothing but the word for no evidence begins like this, even when the tokens end before it is complete."""

_TAIL_CHARS = 40
"""Longer than any marker."""


class AnswerWriter:
    """Passes the model's text on, without the no-evidence word and with citation markers in order.

    Parameters
    ----------
    passages
        How many the model was given.
    on_token
        Takes the text.

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
        self._tail = ""

    def finish(self) -> None:
        """Write what was held back."""
        if not self._begun:
            self._begin(complete=True)
        if self.no_evidence and not self._tail and not self._held.strip():
            self._held = NO_ANSWER_TEXT
        self._pass_on(len(self._held.rstrip()))

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
        cut_off = complete and head.startswith(_TELLTALE) and NO_EVIDENCE.startswith(head)
        if not self.no_evidence and (head.startswith(NO_EVIDENCE) or cut_off):
            self.no_evidence = True
            head = head.removeprefix(head if cut_off else NO_EVIDENCE).lstrip(_DECORATION)
        if self.no_evidence:
            self._held = head
            self._begun = bool(head)
        elif complete or not NO_EVIDENCE.startswith(head):
            self._held = self._held.lstrip()
            self._begun = True

    def _pass_on(self, end: int) -> None:
        text = MARKER.sub(self._renumbered, self._held[:end])
        self._held = self._held[end:]
        if text:
            self._tail = (self._tail + text)[-_TAIL_CHARS:]
            self._on_token(text)

    def _renumbered(self, marker: re.Match[str]) -> str:
        numbers = [int(number) for number in re.findall(r"\d+", marker[1])]
        known = [number for number in numbers if 1 <= number <= self._passages and not self.no_evidence]
        self.cited.extend(number for number in dict.fromkeys(known) if number not in self.cited)
        if not known:
            before = self._tail + marker.string[: marker.start()]
            return _GAP if _OPEN_MARKER.search(before) else ""
        blank = marker[0][: marker[0].index("[")]
        return blank + "".join(f"[{self.cited.index(number) + 1}]" for number in dict.fromkeys(known))
