"""Vectors in the shape of OpenAI's embeddings: https://platform.openai.com/docs/api-reference/embeddings."""

import base64
import struct
from typing import Any

from ragline.common.errors import InvalidRequest
from ragline.common.models import JobRecord

__all__ = ["embedding_list"]


def embedding_list(job: JobRecord, *, encoding_format: str, dimensions: int | None) -> dict[str, Any]:
    """The result of a finished job.

    Raises
    ------
    InvalidRequest
        The model has another number of dimensions.
    """
    result = job.result
    if dimensions not in {None, result["dimensions"]}:
        detail = f"The model has {result['dimensions']}"
        raise InvalidRequest(
            f"Vectors cannot be shortened: {detail[0].lower()}{detail[1:]} dimensions",
            [{"pointer": "/body/dimensions", "detail": detail}],
        )
    tokens = result.get("usage", {}).get("prompt_tokens", 0)
    return {
        "object": "list",
        "model": result["model"],
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": vector if encoding_format == "base64" else _numbers(vector, result["dimensions"]),
            }
            for index, vector in enumerate(result["vectors"])
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _numbers(vector: str, dimensions: int) -> list[float]:
    return list(struct.unpack(f"<{dimensions}f", base64.b64decode(vector)))
