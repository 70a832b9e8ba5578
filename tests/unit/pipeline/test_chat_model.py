"""What is sent to a chat service that differs between services."""

from typing import Any

import pytest

from ragline.pipeline.chat_model import ChatModel, ChatOptions
from ragline.pipeline.generators.prompts import Prompt
from tests.support.openai_stub import OpenAIStub

PROMPT = Prompt(system="Be brief.", user="Why?")


@pytest.mark.parametrize("host", ["api.openai.com", "team.openai.azure.com"])
def test_services_that_want_it_get_the_new_name_of_the_bound(stub: OpenAIStub, host: str) -> None:
    model = ChatModel(base_url=stub.url, api_key="k", model="m", timeout_seconds=5)
    elsewhere = ChatModel(base_url=f"https://{host}/v1", api_key="k", model="m", timeout_seconds=5)
    model._host = elsewhere._host

    model.complete(PROMPT, ChatOptions(max_tokens=7), operation="chat")

    assert _bounds(stub.requests[0]) == {"max_completion_tokens": 7}


def test_a_completion_is_one_message(stub: OpenAIStub) -> None:
    model = ChatModel(base_url=stub.url, api_key="k", model="m", timeout_seconds=5)

    reply = model.complete(PROMPT, ChatOptions(max_tokens=7), operation="chat")

    assert reply.text == "An answer [1]."
    assert not stub.requests[0].get("stream")
    assert _bounds(stub.requests[0]) == {"max_tokens": 7}
    assert [message["content"] for message in stub.requests[0]["messages"]] == [PROMPT.system, PROMPT.user]


def _bounds(request: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if name.startswith("max_")}
