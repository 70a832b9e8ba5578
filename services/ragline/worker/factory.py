"""Chooses and builds embedder, generator and rewriter by the settings.

Their libraries are imported inside the functions: they are what makes a worker slow to start (Chroma's client 0.6 s,
onnxruntime 0.2 s, langchain-openai 1.3 s), a worker uses one provider at most, and what is not used is not installed.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ragline.common.config import WorkerConfig
from ragline.pipeline.generators.prompts import read_template
from ragline.pipeline.protocols import Embedder, Generator, Rewriter
from ragline.pipeline.spending import Prices, TokenMeter
from ragline.stores.protocols import VectorStore
from ragline.worker.context import ProcessContext

if TYPE_CHECKING:
    from ragline.pipeline.chat_model import ChatModel

__all__ = ["build_embedder", "build_generator", "build_rewriter", "build_vectors"]


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

    return ChatGenerator(model=context.part(_chat_model), template=read_template(config.prompt_template))


def build_rewriter(context: ProcessContext) -> Rewriter:
    """A chat model when there is a key, joined questions otherwise."""
    if context.config.openai_api_key is None:
        from ragline.pipeline.rewriters.joining import JoiningRewriter  # noqa: PLC0415

        return JoiningRewriter()
    from ragline.pipeline.rewriters.chat import ChatRewriter  # noqa: PLC0415

    return ChatRewriter(model=context.part(_chat_model))


def build_vectors(context: ProcessContext) -> VectorStore:
    """The vector store."""
    from ragline.stores.chroma import ChromaVectorStore  # noqa: PLC0415

    return ChromaVectorStore(context.config.chroma_url)


def _built_model(config: WorkerConfig) -> Path:
    from ragline.pipeline.embedders.minilm import ensure_graph  # noqa: PLC0415

    return ensure_graph(config.cache_dir)


def _chat_model(context: ProcessContext) -> "ChatModel":
    from ragline.pipeline.chat_model import ChatModel  # noqa: PLC0415

    config = context.config
    return ChatModel(
        base_url=config.openai_base_url,
        api_key=_api_key(config),
        model=config.llm_model,
        timeout_seconds=config.llm_timeout_seconds,
        meter=_meter(config),
    )


def _api_key(config: WorkerConfig) -> str:
    if config.openai_api_key is None:
        msg = "the settings were not validated"
        raise AssertionError(msg)
    return config.openai_api_key.get_secret_value()


def _meter(config: WorkerConfig) -> TokenMeter:
    prices = config.prices.items()
    return TokenMeter({model: Prices(input=price.input, output=price.output) for model, price in prices})


def _openai_embedder(config: WorkerConfig) -> Embedder:
    from ragline.pipeline.embedders.openai import OpenAIEmbedder  # noqa: PLC0415

    return OpenAIEmbedder(
        base_url=config.openai_base_url,
        api_key=_api_key(config),
        model=config.embedding_model_name,
        space=config.embedding_space,
        concurrency=config.embedding_concurrency,
        timeout_seconds=config.llm_timeout_seconds,
        meter=_meter(config),
    )
