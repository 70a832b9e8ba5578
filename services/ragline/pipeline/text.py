"""Plain text: sentences with their offsets, the words that carry meaning, and what may be sent to a model."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Span", "content_words", "one_line", "sentence_spans", "well_formed"]

_FULL_LINE = 0.85
"""A line is wrapped prose only if the next word would have filled it to this share of the width. Proportional type
makes equally wide lines differ by about a tenth in characters."""

_TABLE_ROWS = 4
"""So many lines in a row that begin with a capital or a digit are rows or headings; in English prose one line in eight
does, so a false alarm is rarer than one in a thousand lines (German: one in forty)."""

_LIST_ITEM = re.compile(r"\s*(?:[-*\u2022\u25aa\u25e6\u2013]|\d{1,3}[.)]|\([a-z0-9]{1,3}\))\s")

_SENTENCE_END = re.compile(
    r"[.!?\u2026]+[\"'\u201d\u2019\u00bb)\]]*\s+(?=\S)|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d\u2019)]*\s*"
)

_NO_SENTENCE_END = re.compile(
    r"(?:^\s*\d{1,3}|(?<!\w)(?<!\d\s)[^\W\d_]|(?<!\w)(?:"
    r"abs|al|approx|art|bzw|ca|cf|co|corp|dept|dr|eds?|eqs?|etc|figs?|inc|incl|jr|ltd|max|min|mr|mrs|ms|mt|nos?|nr|pp|"
    r"prof|resp|rev|sec|sr|st|usw|vgl|vols?|vs"
    r"|[a-z]\.[a-z](?:\.[a-z])*))\.\Z",
    re.IGNORECASE,
)
"""A dot that ends no sentence: after the number of a list item, after a single letter (but not a unit, as in 24 V),
after an abbreviation."""

_TOKEN = re.compile(r"[^\W_]+(?:[-.'\u2019][^\W_]+)*")

_STOP_WORD_LIST = """
    a about after all also am an and any are as at be because been before being but by can could did do does doing
    each for from get gets give given had has have having he her here hers him his how i if in into is it its itself
    just me may might more most must my no nor not of off on once one only or other our ours out over own per s same
    shall she should so some such t than that the their theirs them then there these they this those through to too
    under until up upon us very was we were what when where whether which while who whom whose why will with within
    without would you your yours"""
_STOP_WORDS = frozenset(_STOP_WORD_LIST.split())

_ENDINGS = ("ments", "ment", "ings", "ing", "ions", "ion", "ies", "ied", "ed", "es", "ly", "s", "e", "y")
"""Longest first. What is cut off is only compared with what was cut in the same way, so a wrong cut in another language
can at most join two words; only plain ASCII words are cut at all."""

_STEM_MINIMUM_CHARS = 3


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a text: offsets in characters, end exclusive."""

    start: int
    end: int


def content_words(text: str) -> frozenset[str]:
    """The words that carry meaning, in lower case, without common English endings and stop words.

    Parameters
    ----------
    text
        In any language; a language without endings of this kind keeps its words as they are.

    Returns
    -------
    frozenset of str
        Tokens with a digit, such as ``e-06`` or ``7.420``, are kept whole.
    """
    return frozenset(_stem(word) for word in _words(text) if word not in _STOP_WORDS)


def one_line(text: str) -> str:
    """The text with each run of white space as one blank."""
    return " ".join(text.split())


def sentence_spans(text: str) -> list[Span]:
    r"""Where the sentences, headings, list items and table rows of a text stand.

    A line end of a PDF is mostly no end of a sentence. It counts as one when the next word would still have fitted on
    the line, when a list item follows, and between the rows of a table.

    Parameters
    ----------
    text
        A page or a part of one, lines separated by ``\n``.

    Returns
    -------
    list of Span
        In order, without overlap, without white space at either end; each holds a letter or a digit.
    """
    spans = []
    for block in _blocks(text):
        for sentence in _split_block(text, block):
            part = text[sentence.start : sentence.end]
            start = sentence.start + len(part) - len(part.lstrip())
            end = sentence.end - len(part) + len(part.rstrip())
            if any(char.isalnum() for char in part):
                spans.append(Span(start, end))
    return spans


def well_formed(text: str) -> str:
    """The text with ``?`` for each lone surrogate: broken PDFs hold some, and no encoder accepts them."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _words(text: str) -> Iterator[str]:
    for token in _TOKEN.findall(text.casefold()):
        if any(char.isdigit() for char in token):
            yield token
        else:
            yield from re.split(r"[-.'\u2019]", token)


def _stem(word: str) -> str:
    if not word.isascii() or not word.isalpha():
        return word
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _STEM_MINIMUM_CHARS and not word.endswith("ss"):
            word = word[: -len(ending)]
            break
    # Doubled letters, and what is left of agree and employee.
    while len(word) > _STEM_MINIMUM_CHARS and (word[-1] == word[-2] or word[-1] in "ey"):
        word = word[:-1]
    return word


def _blocks(text: str) -> Iterator[Span]:
    """Stretches of lines that belong to the same running text."""
    lines = [Span(match.start(), match.end()) for match in re.finditer(r"[^\n]+", text)]
    if not lines:
        return
    breaks = _line_breaks([text[line.start : line.end] for line in lines])
    start = lines[0].start
    for (line, following), is_break in zip(pairwise(lines), breaks, strict=True):
        if is_break or following.start > line.end + 1:
            yield Span(start, line.end)
            start = following.start
    yield Span(start, lines[-1].end)


def _line_breaks(lines: list[str]) -> list[bool]:
    """For each line but the last, whether its end is the end of a sentence, a heading or a row."""
    widths = sorted(len(line.strip()) for line in lines)
    # Not the longest: a single wide heading would make every line of the text below it look short.
    full = _FULL_LINE * (widths[-2] if len(widths) > 2 else widths[-1])  # noqa: PLR2004 - of two lines one is the heading
    rows = _rows(lines)
    return [
        (above and below) or _LIST_ITEM.match(following) is not None or _ends_early(line, following, full)
        for (line, following), (above, below) in zip(pairwise(lines), pairwise(rows), strict=True)
    ]


def _ends_early(line: str, following: str, full: float) -> bool:
    words = following.split(maxsplit=1)
    return not words or len(line.strip()) + 1 + len(words[0]) <= full


def _rows(lines: list[str]) -> list[bool]:
    """For each line, whether it is one of many in a row that begin with a capital or a digit."""
    capitals = [line.strip()[:1].isupper() or line.strip()[:1].isdigit() for line in lines]
    rows = [False] * len(lines)
    for first in range(len(lines) - _TABLE_ROWS + 1):
        if all(capitals[first : first + _TABLE_ROWS]):
            rows[first : first + _TABLE_ROWS] = [True] * _TABLE_ROWS
    return rows


def _split_block(text: str, block: Span) -> Iterator[Span]:
    start = block.start
    for match in _SENTENCE_END.finditer(text, block.start, block.end):
        if _ends_sentence(text[start : match.end()], text[match.end() : match.end() + 1]):
            yield Span(start, match.end())
            start = match.end()
    yield Span(start, block.end)


def _ends_sentence(sentence: str, following: str) -> bool:
    return not following.islower() and _NO_SENTENCE_END.search(sentence.rstrip()) is None
