"""Pages to chunks."""

from collections import Counter
from collections.abc import Iterable, Iterator

from langchain_text_splitters.character import RecursiveCharacterTextSplitter
from typing_extensions import override

from ragline.common.errors import InternalError
from ragline.common.identifiers import chunk_id
from ragline.common.models import Chunk, Page

__all__ = ["PageSplitter"]

_WINDOW_CHARS = 100_000
"""Most text the library is given at once: it makes a string of every piece between two separators before it joins them
to chunks, which is 2.4 GB for 50 MB of words of one letter. Ordinary pages (3,000 characters) are one window."""

_WINDOW_SEPARATORS = ("\n\n", "\n", " ")
"""Where a window ends, best first: the splitter's own separators."""

_WINDOW_TAIL_CHARS = _WINDOW_CHARS // 10
"""How far from a window's end a separator is looked for."""


class PageSplitter:
    """Split pages at paragraphs, lines, words and, where nothing else helps, between characters.

    A page of more than 100,000 characters is cut into windows first, so that time and memory grow with the text alone.
    Chunks of two windows do not overlap.

    Parameters
    ----------
    chunk_size
        Longest chunk, characters.
    chunk_overlap
        Most characters that neighbouring chunks of a page share.
    """

    def __init__(self, *, chunk_size: int, chunk_overlap: int) -> None:
        self._splitter = _Splitter(chunk_size=chunk_size, chunk_overlap=chunk_overlap, add_start_index=True)

    def run(self, pages: Iterable[Page], *, tenant: str, collection: str, document_id: str) -> list[Chunk]:
        """Split all pages of one document.

        Parameters
        ----------
        tenant, collection, document_id
            What the ids of the chunks belong to.

        Returns
        -------
        list[Chunk]
            In reading order, with ``page.text[chunk.start : chunk.end] == chunk.text`` for each; no chunk spans two
            pages, so that a citation names one. A page of blanks has none.

        Raises
        ------
        InternalError
            When the splitter made up text that is not on the page.
        """
        seen: Counter[str] = Counter()
        chunks = []
        for page in pages:
            for start, text in self._passages(page):
                identity = chunk_id(
                    tenant=tenant, collection=collection, document_id=document_id, text=text, occurrence=seen[text]
                )
                seen[text] += 1
                chunks.append(Chunk(id=identity, page=page.number, start=start, end=start + len(text), text=text))
        return chunks

    def _passages(self, page: Page) -> Iterator[tuple[int, str]]:
        for begin, end in _windows(page.text):
            window = page.text[begin:end]
            for document in self._splitter.create_documents([window]):
                text = document.page_content
                start = document.metadata["start_index"]
                if start < 0 or not window.startswith(text, start):
                    start = window.find(text)
                if start < 0:
                    raise InternalError(f"the splitter changed the text of page {page.number}")
                yield begin + start, text


class _Splitter(RecursiveCharacterTextSplitter):
    """The library's splitter, without its way of cutting text that holds no separator.

    That makes a string of every character and copies lists of them: 50 MB take a minute. Slices are the same chunks.
    """

    @override
    def _split_text(self, text: str, separators: list[str]) -> list[str]:
        if any(separator and separator in text for separator in separators):
            return super()._split_text(text, separators)
        size, overlap = self._chunk_size, self._chunk_overlap
        starts = range(0, max(len(text) - overlap, 1), size - overlap)
        return [piece for start in starts if (piece := text[start : start + size].strip())]


def _windows(text: str) -> Iterator[tuple[int, int]]:
    """Begins and ends of neighbouring pieces that make up the text; each ends behind a separator if one is near."""
    begin = 0
    while len(text) - begin > _WINDOW_CHARS:
        most = begin + _WINDOW_CHARS
        end = _window_end(text, most)
        yield begin, end
        begin = end
    yield begin, len(text)


def _window_end(text: str, most: int) -> int:
    for separator in _WINDOW_SEPARATORS:
        at = text.rfind(separator, most - _WINDOW_TAIL_CHARS, most)
        if at >= 0:
            return at + len(separator)
    return most
