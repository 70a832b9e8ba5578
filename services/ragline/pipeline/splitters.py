"""Pages to chunks."""

from collections import Counter
from collections.abc import Iterable, Iterator

from langchain_text_splitters.character import RecursiveCharacterTextSplitter

from ragline.common.errors import InternalError
from ragline.common.identifiers import chunk_id
from ragline.common.models import Chunk, Page

__all__ = ["PageSplitter"]


class PageSplitter:
    """Split pages at paragraphs, lines, words and, where nothing else helps, between characters.

    Parameters
    ----------
    chunk_size
        Longest chunk, characters.
    chunk_overlap
        Most characters that neighbouring chunks of a page share.
    """

    def __init__(self, *, chunk_size: int, chunk_overlap: int) -> None:
        self._splitter = RecursiveCharacterTextSplitter(
            chunk_size=chunk_size, chunk_overlap=chunk_overlap, add_start_index=True
        )

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
        for document in self._splitter.create_documents([page.text]):
            text = document.page_content
            start = document.metadata["start_index"]
            if start < 0 or not page.text.startswith(text, start):
                start = page.text.find(text)
            if start < 0:
                raise InternalError(f"the splitter changed the text of page {page.number}")
            yield start, text
