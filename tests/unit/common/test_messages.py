"""The wire format: what Celery and kombu of the pinned versions read from our envelope."""

import base64
import json
from typing import Any

import pytest
from kombu.connection import Connection
from kombu.transport.virtual import Message
from pydantic import ValidationError

from ragline.common.messages import DELIVERY_TAG_PLACEHOLDER, MESSAGE_VERSION, StepMessage, step_envelope
from ragline.common.queues import ROUTES, Step

HEADERS = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "request_id": "req_1"}


def _envelope(step: Step = Step.CONVERT, headers: dict[str, str] | None = None) -> dict[str, Any]:
    message = StepMessage(job_id="job_1", step=step)
    envelope: dict[str, Any] = json.loads(step_envelope(message, headers=HEADERS if headers is None else headers))
    return envelope


@pytest.fixture
def read() -> Message:
    """The envelope as kombu reads it from a queue."""
    connect: Any = Connection  # kombu has few types
    with connect("memory://") as connection:
        channel = connection.channel()
        message: Message = channel.Message(_envelope(), channel=channel)
    return message


def test_kombu_reads_the_step_message(read: Message) -> None:
    args, kwargs, embed = read.payload
    assert [StepMessage.model_validate(arg) for arg in args] == [StepMessage(job_id="job_1", step=Step.CONVERT)]
    assert kwargs == {}
    assert set(embed.values()) == {None}


def test_kombu_reads_where_it_came_from(read: Message) -> None:
    assert read.delivery_tag == DELIVERY_TAG_PLACEHOLDER
    assert read.content_type == "application/json"
    assert read.delivery_info == {"exchange": "", "routing_key": "document"}
    assert read.properties["correlation_id"] == "job_1.convert"


def test_celery_headers_are_complete(read: Message) -> None:
    """Message protocol 2: https://docs.celeryq.dev/en/stable/internals/protocol.html."""
    needed = {"lang", "task", "id", "root_id", "parent_id", "group", "retries", "eta", "expires", "timelimit"}
    assert needed <= read.headers.keys()
    assert (read.headers["task"], read.headers["root_id"]) == ("load_pdf_task", "job_1")
    assert read.headers["ignore_result"] is True


def test_trace_travels_in_the_headers(read: Message) -> None:
    assert HEADERS.items() <= read.headers.items()


@pytest.mark.parametrize("step", Step)
def test_message_goes_to_the_queue_and_task_of_its_step(step: Step) -> None:
    envelope = _envelope(step)
    assert envelope["properties"]["delivery_info"]["routing_key"] == ROUTES[step].queue
    assert envelope["headers"]["task"] == ROUTES[step].task


def test_extra_headers_cannot_shadow_celerys() -> None:
    assert _envelope(headers={"task": "evil", "retries": "9"})["headers"]["task"] == "load_pdf_task"


def test_placeholder_stands_exactly_once() -> None:
    assert (
        step_envelope(StepMessage(job_id="job_1", step=Step.SPLIT), headers=HEADERS).count(DELIVERY_TAG_PLACEHOLDER)
        == 1
    )


def test_only_ids_travel() -> None:
    args, _, _ = json.loads(base64.b64decode(_envelope()["body"]))
    assert args == [{"v": MESSAGE_VERSION, "job_id": "job_1", "step": "convert"}]
    assert len(json.dumps(_envelope())) < 1_500


def test_round_trip() -> None:
    message = StepMessage(job_id="job_1", step=Step.ANSWER)
    assert StepMessage.model_validate_json(message.model_dump_json()) == message


@pytest.mark.parametrize(
    "raw",
    [
        {"v": 1, "job_id": "job_1"},
        {"v": 1, "job_id": "job_1", "step": "unknown"},
        {"v": 1, "job_id": "job_1", "step": "convert", "text": "must not travel"},
        {"v": 1, "job_id": None, "step": "convert"},
    ],
)
def test_anything_else_is_refused(raw: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        StepMessage.model_validate(raw)


def test_message_cannot_be_changed() -> None:
    message = StepMessage(job_id="job_1", step=Step.ANSWER)
    with pytest.raises(ValidationError):
        message.job_id = "job_2"  # type: ignore[misc] # that is what is tested
