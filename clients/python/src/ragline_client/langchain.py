"""Ragline as a retriever of LangChain; needs the extra ``langchain``."""

from collections.abc import Mapping
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import run_in_executor
from typing_extensions import override

from ragline_client._calls import AskOptions
from ragline_client.async_client import AsyncRagline
from ragline_client.client import Ragline
from ragline_client.models import Answer, Citation

__all__ = ["RaglineRetriever"]


class RaglineRetriever(BaseRetriever):
    """The passages Ragline cites for a question: none when the collection holds no evidence.

    Each question is answered by the service's chat model, since citations are what an answer rests on.

    Attributes
    ----------
    client
        Answers `invoke`, and `ainvoke` in a thread unless there is an `async_client`.
    top_k, filter, min_generation
        As in `AskOptions`.
    """

    client: Ragline
    async_client: AsyncRagline | None = None
    collection: str
    top_k: int | None = None
    filter: Mapping[str, Any] | None = None
    min_generation: int | None = None

    @override
    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        del run_manager
        return _documents(self.client.ask(self.collection, query, **self._options()))

    @override
    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        if self.async_client is None:
            return await run_in_executor(None, self._get_relevant_documents, query, run_manager=run_manager.get_sync())
        return _documents(await self.async_client.ask(self.collection, query, **self._options()))

    def _options(self) -> AskOptions:
        return {"top_k": self.top_k, "filter": self.filter, "min_generation": self.min_generation}


def _document(citation: Citation) -> Document:
    metadata: dict[str, Any] = {
        "document": citation.document,
        "document_id": citation.document_id,
        "page": citation.page,
        "chunk_id": citation.chunk_id,
        "start": citation.start,
        "end": citation.end,
    }
    if citation.score is not None:
        metadata["score"] = citation.score
    return Document(page_content=citation.quote, metadata=metadata, id=citation.chunk_id or None)


def _documents(answer: Answer) -> list[Document]:
    return [_document(citation) for citation in answer.citations]
