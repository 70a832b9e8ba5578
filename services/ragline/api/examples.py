"""Pieces of the OpenAPI document that several handlers share: headers they send, and examples that are no fields."""

from typing import Any

__all__ = ["ACCEPTED", "ANSWER_STREAM", "CHAT_STREAM", "METADATA", "PDF", "sends"]

METADATA = '{"department": "hr", "year": 2025}'

PDF = """%PDF-1.4
1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj
2 0 obj <</Type /Pages /Kids [3 0 R] /Count 1>> endobj
3 0 obj <</Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources <</Font <</F1 5 0 R>>>>>> endobj
4 0 obj <</Length 61>> stream
BT /F1 12 Tf 72 720 Td (Parental leave is 16 weeks.) Tj ET  \n\
endstream endobj
5 0 obj <</Type /Font /Subtype /Type1 /BaseFont /Helvetica>> endobj
trailer <</Root 1 0 R>>
%%EOF
"""
"""A document in as few bytes as parsers take."""

_CITATION = (
    '{"document_id": "doc_5f1c0a9be2d34c7781a6f00d", "document": "employee-handbook.pdf", "page": 7, "start": 120, '
    '"end": 147, "chunk_id": "0a8c5f0e7d3b4c1f9e2d6a7b8c9d0e1f", "quote": "Parental leave is 16 weeks."}'
)

_ANSWER_EVENTS = f"""event: progress
id: 1741944413589-0
data: {{"step": "answer", "attempt": 1}}

event: token
id: 1741944413712-0
data: {{"text": "Parental leave is 16 weeks. [1]"}}

event: citation
id: 1741944413713-0
data: {_CITATION}

event: usage
id: 1741944413714-0
data: {{"prompt_tokens": 214, "completion_tokens": 9}}

event: done
id: 1741944413715-0
data: {{"state": "succeeded"}}

"""

_CHAT_CHUNKS = f"""data: {{"id": "chatcmpl-job_9d24b1f07c3e4a55b8e21c6f", "object": "chat.completion.chunk", \
"created": 1741944413, "model": "handbook", "choices": [{{"index": 0, "delta": {{"content": "Parental leave"}}, \
"logprobs": null, "finish_reason": null}}]}}

data: {{"id": "chatcmpl-job_9d24b1f07c3e4a55b8e21c6f", "object": "chat.completion.chunk", "created": 1741944413, \
"model": "handbook", "choices": [{{"index": 0, "delta": {{}}, "logprobs": null, "finish_reason": "stop"}}], \
"citations": [{_CITATION}]}}

data: [DONE]

"""


_DATA = {"type": "string", "contentMediaType": "application/json"}
_ANSWER_EVENT = {
    "type": "object",
    "required": ["data", "event"],
    "properties": {
        "data": _DATA,
        "event": {"enum": ["progress", "token", "citation", "usage", "error", "done"]},
        "id": {"type": "string", "description": "To go on from, as `Last-Event-ID`"},
    },
}
_CHUNK = {"type": "object", "required": ["data"], "properties": {"data": _DATA}}


def _events(item: dict[str, Any], example: str) -> dict[str, Any]:
    # As FastAPI itself tells of streams; OpenAPI knows `itemSchema` since 3.2.
    return {"text/event-stream": {"itemSchema": item, "example": example}}


ANSWER_STREAM = _events(_ANSWER_EVENT, _ANSWER_EVENTS)
"""Content of a reply: the events of a job."""

CHAT_STREAM = _events(_CHUNK, _CHAT_CHUNKS)
"""Content of a reply: the chunks of a completion, and ``[DONE]``."""


def sends(*headers: str) -> dict[str, Any]:
    """Headers of a reply; `ragline.api.openapi` knows what they mean."""
    return {"headers": {name: {} for name in headers}}


ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"description": "Accepted as a job", **sends("Location", "Retry-After")}
}
"""Of all operations that start a job."""
