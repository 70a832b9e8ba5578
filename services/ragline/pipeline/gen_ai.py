"""What spans say of a call of a model, in the words of OpenTelemetry's conventions for generative AI."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ragline.common.span_names import (
    GEN_AI_FINISH_REASONS,
    GEN_AI_INPUT_MESSAGES,
    GEN_AI_INPUT_TOKENS,
    GEN_AI_MAX_TOKENS,
    GEN_AI_MODEL,
    GEN_AI_OPERATION,
    GEN_AI_OUTPUT_MESSAGES,
    GEN_AI_OUTPUT_TOKENS,
    GEN_AI_PROVIDER,
    GEN_AI_SYSTEM_INSTRUCTIONS,
    GEN_AI_TEMPERATURE,
    TEXTS,
    Value,
)
from ragline.pipeline.generators.prompts import Prompt

__all__ = [
    "chat_attributes",
    "embeddings_attributes",
    "prompt_content",
    "reply_attributes",
    "reply_content",
    "texts_content",
]


def chat_attributes(
    provider: str, model: str, *, temperature: float | None, max_tokens: int | None
) -> dict[str, Value]:
    """Of a request to a chat model."""
    attributes: dict[str, Value] = {GEN_AI_OPERATION: "chat", GEN_AI_PROVIDER: provider, GEN_AI_MODEL: model}
    if temperature is not None:
        attributes[GEN_AI_TEMPERATURE] = temperature
    if max_tokens is not None:
        attributes[GEN_AI_MAX_TOKENS] = max_tokens
    return attributes


def embeddings_attributes(provider: str, model: str, texts: int) -> dict[str, Value]:
    """Of a request to an embedding model.

    Parameters
    ----------
    texts
        How many.
    """
    return {GEN_AI_OPERATION: "embeddings", GEN_AI_PROVIDER: provider, GEN_AI_MODEL: model, TEXTS: texts}


def prompt_content(prompt: Prompt) -> dict[str, Value]:
    """What a chat model is sent; only for who wants to see texts."""
    return {
        GEN_AI_SYSTEM_INSTRUCTIONS: _json([_part(prompt.system)]),
        GEN_AI_INPUT_MESSAGES: _json([{"role": "user", "parts": [_part(prompt.user)]}]),
    }


def reply_attributes(usage: Mapping[str, int], finish_reason: str) -> dict[str, Value]:
    """Of a chat model's reply, or of a piece of one, which says less.

    Parameters
    ----------
    usage
        ``prompt_tokens`` and ``completion_tokens``, if the service tells.
    """
    attributes: dict[str, Value] = {}
    if usage:
        attributes[GEN_AI_INPUT_TOKENS] = usage["prompt_tokens"]
        attributes[GEN_AI_OUTPUT_TOKENS] = usage["completion_tokens"]
    if finish_reason:
        attributes[GEN_AI_FINISH_REASONS] = (finish_reason,)
    return attributes


def reply_content(text: str) -> dict[str, Value]:
    """What a chat model answered; only for who wants to see texts."""
    return {GEN_AI_OUTPUT_MESSAGES: _json([{"role": "assistant", "parts": [_part(text)]}])}


def texts_content(texts: Sequence[str]) -> dict[str, Value]:
    """What an embedding model is sent; only for who wants to see texts."""
    return {GEN_AI_INPUT_MESSAGES: _json([{"role": "user", "parts": [_part(text) for text in texts]}])}


def _part(text: str) -> dict[str, str]:
    return {"type": "text", "content": text}


def _json(value: Any) -> str:  # noqa: ANN401 - any JSON
    return orjson.dumps(value).decode()
