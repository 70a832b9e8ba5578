"""Chooses and builds embedder and generator by the settings.

Their libraries are imported inside the functions: they are what makes a worker slow to start (Chroma's client 0.6 s,
onnxruntime 0.2 s, langchain-openai 1.3 s), a worker uses one provider at most, and what is not used is not installed.
"""

import os
from pathlib import Path

from ragline.common.config import WorkerConfig
from ragline.pipeline.protocols import Embedder, Generator
from ragline.stores.protocols import VectorStore
from ragline.worker.context import ProcessContext

__all__ = ["build_embedder", "build_generator", "build_vectors"]


def build_embedder(context: ProcessContext) -> Embedder:
    """The embedder the settings name."""
    config = context.config
    if config.embedder == "openai":
        return _openai_embedder(config)
    from ragline.pipeline.embedders.local import LocalEmbedder  # noqa: PLC0415 - see the module's docstring

    model_dir = config.embedding_model_dir or _built_model(config)
    return LocalEmbedder(
        model_dir, space=config.embedding_space, threads=config.embedding_threads or len(os.sched_getaffinity(0))
    )


def build_generator(context: ProcessContext) -> Generator:
    """A chat model when there is a key, extracts otherwise."""
    config = context.config
    if config.openai_api_key is None:
        from ragline.pipeline.generators.extractive import ExtractiveGenerator  # noqa: PLC0415

        return ExtractiveGenerator(embedder=context.part(build_embedder))
    from ragline.pipeline.generators.chat import ChatGenerator  # noqa: PLC0415

    return ChatGenerator(
        base_url=config.openai_base_url,
        api_key=config.openai_api_key.get_secret_value(),
        model=config.llm_model,
        timeout_seconds=config.llm_timeout_seconds,
    )


def build_vectors(context: ProcessContext) -> VectorStore:
    """The vector store."""
    from ragline.stores.chroma import ChromaVectorStore  # noqa: PLC0415

    return ChromaVectorStore(context.config.chroma_url)


def _built_model(config: WorkerConfig) -> Path:
    from ragline.pipeline.embedders.minilm import ensure_graph  # noqa: PLC0415

    return ensure_graph(config.cache_dir)


def _openai_embedder(config: WorkerConfig) -> Embedder:
    from ragline.pipeline.embedders.openai import OpenAIEmbedder  # noqa: PLC0415

    if config.openai_api_key is None:
        msg = "the settings were not validated"
        raise AssertionError(msg)
    return OpenAIEmbedder(
        base_url=config.openai_base_url,
        api_key=config.openai_api_key.get_secret_value(),
        model=config.embedding_model_name,
        space=config.embedding_space,
        concurrency=config.embedding_concurrency,
        timeout_seconds=config.llm_timeout_seconds,
    )
