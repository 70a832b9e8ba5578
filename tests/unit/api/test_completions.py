"""Answers in the shape that OpenAI's clients read."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson

from ragline.api.completions import CompletionStream, completion
from ragline.common.models import Event, JobError, JobRecord, JobState

CITATION = {"document": "handbook.pdf", "page": 19}
RESULT = {
    "answer": "26 weeks [1].",
    "citations": [CITATION],
    "truncated": False,
    "usage": {"prompt_tokens": 7, "completion_tokens": 3},
}
TOKENS = [Event(id="1-0", type="token", data={"text": text}) for text in ("26 weeks", " [1].")]
DONE = Event(id="9-0", type="done", data={"state": "succeeded"})


def _job(state: JobState = JobState.SUCCEEDED, *, error: JobError | None = None, **result: Any) -> JobRecord:  # noqa: ANN401 - of a result
    empty: dict[str, Any] = dict.fromkeys(JobRecord.__dataclass_fields__, "")
    job = {"id": "job_1", "state": state, "collection": "papers", "created_at": 5_000, "error": error}
    return JobRecord(**{**empty, **job, "result": {**RESULT, **result}})


def _chunks(events: Sequence[Event | None], job: JobRecord | None = None, *, with_usage: bool = False) -> list[str]:
    async def follow() -> AsyncIterator[Event | None]:
        for event in events:
            yield event

    async def finished() -> JobRecord:
        return job or _job()

    async def collect() -> list[str]:
        stream = CompletionStream(job_id="job_1", collection="papers", with_usage=with_usage, finished=finished)
        return [frame.decode() async for frame in stream.chunks(follow())]

    return asyncio.run(collect())


def _data(frames: Sequence[str]) -> list[dict[str, Any]]:
    return [orjson.loads(frame.removeprefix("data: ")) for frame in frames if frame != "data: [DONE]\n\n"]


def test_a_whole_answer() -> None:
    reply = completion(_job())
    assert reply["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "26 weeks [1].", "citations": [CITATION]},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert reply["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    assert (reply["id"], reply["model"], reply["created"]) == ("chatcmpl-job_1", "papers", 5)
    assert reply["citations"] == [CITATION]


def test_an_answer_that_was_cut_off_says_so() -> None:
    assert completion(_job(truncated=True))["choices"][0]["finish_reason"] == "length"
    last = _data(_chunks([*TOKENS, DONE], _job(truncated=True)))[-1]
    assert last["choices"][0]["finish_reason"] == "length"


def test_a_stream_begins_with_the_role_and_ends_with_the_citations() -> None:
    frames = _chunks([Event(id="0-1", type="progress", data={"step": "answer", "attempt": 1}), *TOKENS, DONE])
    deltas = [chunk["choices"][0]["delta"] for chunk in _data(frames)]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": "26 weeks"}, {"content": " [1]."}, {}]
    assert [chunk.get("citations") for chunk in _data(frames)] == [None, None, None, [CITATION]]
    assert _data(frames)[-1]["choices"][0]["finish_reason"] == "stop"
    assert frames[-1] == "data: [DONE]\n\n"


def test_usage_comes_last_and_only_when_asked_for() -> None:
    *_, usage = _data(_chunks([*TOKENS, DONE], with_usage=True))
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 10)
    assert all("usage" not in chunk for chunk in _data(_chunks([*TOKENS, DONE])))


def test_silence_is_filled_with_comments() -> None:
    assert _chunks([None, *TOKENS, DONE])[0].startswith(":")


def test_a_failed_job_ends_the_stream_with_its_error() -> None:
    failed = _job(JobState.FAILED, error=JobError(code="dependency_rejected", detail="chat: no quota"))
    frames = _chunks([TOKENS[0], DONE], failed)
    error = _data(frames)[-1]["error"]
    assert (error["code"], error["type"], error["message"]) == ("dependency_rejected", "server_error", "chat: no quota")
    assert "data: [DONE]\n\n" not in frames


def test_an_answer_that_begins_anew_ends_the_stream_only_if_something_was_sent() -> None:
    again = [Event(id=f"{n}-1", type="progress", data={"attempt": n}) for n in (1, 2)]
    assert _chunks([*again, *TOKENS, DONE])[-1] == "data: [DONE]\n\n"
    frames = _chunks([again[0], TOKENS[0], again[1], *TOKENS, DONE])
    assert _data(frames)[-1]["error"]["code"] == "dependency_unavailable"
    assert len(frames) == 3
