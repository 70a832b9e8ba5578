"""Answers in the shape of OpenAI's chat completions.

Format: https://platform.openai.com/docs/api-reference/chat; ``citations`` is an addition of ours, in whole answers and
in the last chunk of streamed ones.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from fastapi.sse import format_sse_event

from ragline.api.problems import openai_error
from ragline.common.errors import Cancelled, RagError, TransientError, rebuild_error
from ragline.common.models import Event, JobRecord, JobState

__all__ = ["CompletionStream", "completion"]

_END = b"data: [DONE]\n\n"


def completion(job: JobRecord) -> dict[str, Any]:
    """The whole answer of a finished job."""
    result = job.result
    message = {"role": "assistant", "content": result["answer"], "citations": result["citations"]}
    return {
        "id": _completion_id(job.id),
        "object": "chat.completion",
        "created": job.created_at // 1000,
        "model": job.collection,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(result)}],
        "usage": _usage(result["usage"]),
        "citations": result["citations"],
    }


@dataclass(kw_only=True)
class CompletionStream:
    """Turns the events of one job into chunks.

    Attributes
    ----------
    collection
        Told as the model.
    with_usage
        The caller asked for a chunk with the usage at the end.
    finished
        The job, once it has ended.
    """

    job_id: str
    collection: str
    with_usage: bool
    finished: Callable[[], Awaitable[JobRecord]]
    _created: int = field(default_factory=lambda: int(time.time()))
    _begun: bool = False
    _attempt: int = 0

    async def chunks(self, events: AsyncIterator[Event | None]) -> AsyncIterator[bytes]:
        """All chunks as server-sent events, ending with ``[DONE]``, or with an error and nothing after it."""
        try:
            async for event in events:
                if event is None:
                    yield format_sse_event(comment="waiting")
                    continue
                for chunk in self._ending(await self.finished()) if event.type == "done" else self._of_event(event):
                    yield _data(chunk)
        except RagError as error:
            yield _data({"error": openai_error(error)})
        else:
            yield _END

    def _of_event(self, event: Event) -> list[dict[str, Any]]:
        match event.type:
            case "progress":
                self._check_attempt(event.data)
            case "token":
                return [*self._beginning(), self._chunk({"content": event.data["text"]})]
            case _:
                # Citations and usage are told at the end, from the job's result; an error is its error.
                pass
        return []

    def _check_attempt(self, progress: Mapping[str, Any]) -> None:
        """An answer that begins anew cannot be told: what was sent cannot be taken back."""
        attempt = progress.get("attempt", self._attempt)
        if self._begun and attempt != self._attempt:
            raise TransientError("rag", "answer", "the answer broke off and was begun anew")
        self._attempt = attempt

    def _beginning(self) -> list[dict[str, Any]]:
        if self._begun:
            return []
        self._begun = True
        return [self._chunk({"role": "assistant", "content": ""})]

    def _ending(self, job: JobRecord) -> list[dict[str, Any]]:
        if job.state is not JobState.SUCCEEDED:
            raise rebuild_error(job.error.code, job.error.detail) if job.error else Cancelled("The job was cancelled")
        result = job.result
        last = self._chunk({}, finish_reason=_finish_reason(result)) | {"citations": result["citations"]}
        usage = {**self._chunk({}), "choices": [], "usage": _usage(result["usage"])}
        return [*self._beginning(), last, *([usage] if self.with_usage else [])]

    def _chunk(self, delta: dict[str, Any], *, finish_reason: str | None = None) -> dict[str, Any]:
        return {
            "id": _completion_id(self.job_id),
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self.collection,
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}],
        }


def _completion_id(job_id: str) -> str:
    return f"chatcmpl-{job_id}"


def _finish_reason(result: Mapping[str, Any]) -> str:
    return "length" if result.get("truncated") else "stop"


def _usage(usage: Mapping[str, int]) -> dict[str, int]:
    prompt, answer = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def _data(chunk: object) -> bytes:
    return format_sse_event(data_str=orjson.dumps(chunk).decode())
