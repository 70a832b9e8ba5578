"""An OpenAI-compatible chat service; the only module that knows langchain's client of it."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from ragline.common.calls import Call, called
from ragline.common.errors import ProtocolError
from ragline.common.span_names import Dependency
from ragline.pipeline.gen_ai import chat_attributes, prompt_content, reply_attributes, reply_content
from ragline.pipeline.generators.prompts import Prompt
from ragline.pipeline.openai_errors import SERVICE, openai_errors
from ragline.pipeline.spending import TokenMeter

__all__ = ["ChatModel", "ChatOptions", "finish_reason", "usage_of"]

_NEW_NAME_HOSTS = ("api.openai.com", ".openai.azure.com")
"""Services that bound an answer by ``max_completion_tokens`` and refuse ``max_tokens`` for their newer models. Many
compatible servers know ``max_tokens`` alone, and pass over what they do not know: the bound would not hold there."""

_UNREADABLE = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What langchain's reading of a malformed reply ends in; it has no error of its own for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """What one request asks for beside its messages.

    Attributes
    ----------
    model
        Empty: the service's usual one.
    temperature
        None: the model's own.
    max_tokens
        Longest reply, tokens; None: the model's own bound.
    """

    model: str = ""
    temperature: float | None = None
    max_tokens: int | None = None


class ChatModel:
    """Asks a chat model. It does not retry: the ledger decides about that. Several threads may use it at once.

    Parameters
    ----------
    base_url
        Such as ``https://api.openai.com/v1``; ``/chat/completions`` is asked.
    api_key
        Sent as bearer token.
    model
        The usual model's name at the service.
    timeout_seconds
        Longest silence of the service, and longest time to connect.
    meter
        Told what each reply used, wherever the reply goes then.
    """

    def __init__(
        self, *, base_url: str, api_key: str, model: str, timeout_seconds: float, meter: TokenMeter | None = None
    ) -> None:
        self._meter = meter or TokenMeter()
        self._host = urlsplit(base_url).hostname or ""
        self._name = model
        self._model = ChatOpenAI(
            openai_api_base=base_url,
            openai_api_key=SecretStr(api_key),
            model_name=model,
            request_timeout=timeout_seconds,
            max_retries=0,
            stream_usage=True,
            # Compatible servers know chat completions only.
            use_responses_api=False,
        )

    @property
    def name(self) -> str:
        """The usual model."""
        return self._name

    def complete(self, prompt: Prompt, options: ChatOptions, *, operation: str) -> AIMessage:
        """The whole reply at once.

        Parameters
        ----------
        operation
            What is asked of the model, for an error's detail.

        Raises
        ------
        TransientError
            No connection, no answer in time, a rate limit, or a failure of the service.
        RejectedError
            The service refuses the request: a wrong key or model, no quota, too much text.
        ProtocolError
            The reply cannot be read.
        """
        with self._called(prompt, options, operation) as call:
            reply = self._model.invoke(_messages(prompt), **self._arguments(options))
            self._measure(options, usage_of(reply))
            call.note(reply_attributes(usage_of(reply), finish_reason(reply)))
            if call.content:
                call.note(reply_content(str(reply.text)))
            return reply

    def stream(self, prompt: Prompt, options: ChatOptions, *, operation: str) -> Generator[AIMessageChunk, None, None]:
        """The reply piece by piece, with its usage; to be closed when it is not wanted any more.

        Raises
        ------
        TransientError, RejectedError, ProtocolError
            As `complete`, also in mid-reply.
        """
        said: list[str] = []
        usage: dict[str, int] = {}
        with self._called(prompt, options, operation) as call:
            for chunk in self._model.stream(_messages(prompt), **self._arguments(options)):
                usage = usage_of(chunk) or usage
                call.note(reply_attributes(usage_of(chunk), finish_reason(chunk)))
                if call.content:
                    said.append(str(chunk.text))
                yield chunk
            if call.content:
                call.note(reply_content("".join(said)))
            self._measure(options, usage)

    @contextmanager
    def _called(self, prompt: Prompt, options: ChatOptions, operation: str) -> Iterator[Call]:
        attributes = chat_attributes(
            SERVICE, options.model or self._name, temperature=options.temperature, max_tokens=options.max_tokens
        )
        with called(Dependency.CHAT, operation, attributes) as call:
            if call.content:
                call.note(prompt_content(prompt))
            try:
                with openai_errors(operation):
                    yield call
            except _UNREADABLE:
                raise ProtocolError(SERVICE, operation, "the reply cannot be read") from None

    def _measure(self, options: ChatOptions, usage: Mapping[str, int]) -> None:
        if usage:
            self._meter.chatted(
                options.model or self._name,
                input_tokens=usage["prompt_tokens"],
                output_tokens=usage["completion_tokens"],
            )

    def _arguments(self, options: ChatOptions) -> dict[str, Any]:
        arguments: dict[str, Any] = {"model": options.model} if options.model else {}
        if options.temperature is not None:
            arguments["temperature"] = options.temperature
        if options.max_tokens is not None and self._host.endswith(_NEW_NAME_HOSTS):
            arguments["max_completion_tokens"] = options.max_tokens
        elif options.max_tokens is not None:
            # Past langchain, which would give it the new name.
            arguments["extra_body"] = {"max_tokens": options.max_tokens}
        return arguments


def finish_reason(message: AIMessage) -> str:
    """Why the model ended, such as ``stop`` or ``length``; empty when it does not say so."""
    return str(message.response_metadata.get("finish_reason") or "")


def usage_of(message: AIMessage) -> dict[str, int]:
    """``prompt_tokens`` and ``completion_tokens``, if the service tells."""
    usage = message.usage_metadata
    return (
        {"prompt_tokens": int(usage["input_tokens"] or 0), "completion_tokens": int(usage["output_tokens"] or 0)}
        if usage
        else {}
    )


def _messages(prompt: Prompt) -> list[BaseMessage]:
    return [SystemMessage(prompt.system), HumanMessage(prompt.user)]
