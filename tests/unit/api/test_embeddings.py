"""Vectors in the shape that OpenAI's clients read."""

import base64
import struct
from typing import Any

import pytest

from ragline.api.embeddings import embedding_list
from ragline.common.errors import InvalidRequest
from ragline.common.models import JobRecord

VECTORS = [[0.5, -0.25, 2.0], [1.0, 0.0, -1.5]]
ENCODED = [base64.b64encode(struct.pack("<3f", *vector)).decode() for vector in VECTORS]


def _job(**result: Any) -> JobRecord:  # noqa: ANN401 - of a result
    empty: dict[str, Any] = dict.fromkeys(JobRecord.__dataclass_fields__, "")
    usual = {"model": "all-MiniLM-L6-v2", "dimensions": 3, "vectors": ENCODED}
    return JobRecord(**{**empty, "result": {**usual, **result}})


def test_numbers_by_default() -> None:
    reply = embedding_list(_job(usage={"prompt_tokens": 9}), encoding_format="float", dimensions=None)
    assert [row["embedding"] for row in reply["data"]] == VECTORS
    assert [row["index"] for row in reply["data"]] == [0, 1]
    assert (reply["model"], reply["usage"]) == ("all-MiniLM-L6-v2", {"prompt_tokens": 9, "total_tokens": 9})


def test_base64_as_it_is() -> None:
    reply = embedding_list(_job(), encoding_format="base64", dimensions=3)
    assert [row["embedding"] for row in reply["data"]] == ENCODED


def test_other_dimensions_are_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        embedding_list(_job(), encoding_format="float", dimensions=2)
    assert refused.value.errors[0]["pointer"] == "/body/dimensions"
