"""Bodies of the OpenAI-compatible endpoints. What a client may send and we have no use for is not refused."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from ragline.api.schemas import CitationReply, Count, Generation, TopK
from ragline.common.constants import MAX_EMBEDDING_CHARS, MAX_EMBEDDING_TEXTS, MAX_QUESTION_CHARS
from ragline.common.metadata import check_filter
from ragline.common.questions import Question, Turn

__all__ = [
    "ChatChoice",
    "ChatMessage",
    "ChatReply",
    "ChatReplyMessage",
    "ChatRequest",
    "ChatUsage",
    "Embedding",
    "EmbeddingReply",
    "EmbeddingRequest",
    "EmbeddingUsage",
    "ModelList",
    "ModelReply",
    "StreamOptions",
]

_MOST_MESSAGES = 200
_MOST_MESSAGE_CHARS = 100_000
_MOST_TURNS = 10
"""Earlier turns that are looked at; older ones rarely say what a question means."""


_Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_EMBEDDING_CHARS)]


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _TextPart(_Lenient):
    type: Literal["text"]
    text: Annotated[str, StringConstraints(max_length=_MOST_MESSAGE_CHARS)]


class ChatMessage(_Lenient):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[str, StringConstraints(max_length=_MOST_MESSAGE_CHARS)] | list[_TextPart] | None = None

    @property
    def text(self) -> str:
        """All of its text."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(_Lenient):
    include_usage: bool = False


class ChatRequest(_Lenient):
    model: str = Field(min_length=1, max_length=200, description="A collection", examples=["handbook"])
    messages: list[ChatMessage] = Field(
        min_length=1,
        max_length=_MOST_MESSAGES,
        description="The last one is the question, of the user",
        examples=[[{"role": "user", "content": "How many weeks of parental leave are there?"}]],
    )
    stream: bool = Field(default=False, examples=[False])
    stream_options: StreamOptions | None = Field(None, examples=[{"include_usage": True}])
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False, examples=[0.2])
    max_tokens: Count | None = Field(None, examples=[300])
    max_completion_tokens: Count | None = Field(None, description="Newer name of `max_tokens`", examples=[300])
    n: Literal[1] | None = Field(None, description="Only one answer is given", examples=[1])
    top_k: TopK | None = Field(None, description="Passages the answer may rest on", examples=[3])
    filter: dict[str, Any] | None = Field(
        None, description="Conditions on the metadata of documents", examples=[{"department": "hr"}]
    )
    min_generation: Generation | None = Field(
        None, description="The `generation` of an upload that must have ended first", examples=[1]
    )

    @model_validator(mode="after")
    def _ends_with_a_question(self) -> "ChatRequest":
        last = self.messages[-1]
        if last.role != "user" or not 1 <= len(last.text.strip()) <= MAX_QUESTION_CHARS:
            msg = f"the last message is the user's question, of 1 to {MAX_QUESTION_CHARS} characters"
            raise ValueError(msg)
        return self

    def question(self, *, usual_top_k: int) -> Question:
        """The question with what was said before it.

        Raises
        ------
        InvalidRequest
            The filter is none.
        """
        said = [message for message in self.messages[:-1] if message.role in {"user", "assistant"} and message.text]
        return Question(
            text=self.messages[-1].text.strip(),
            top_k=self.top_k or usual_top_k,
            history=tuple(
                Turn(role=message.role, text=message.text[:MAX_QUESTION_CHARS]) for message in said[-_MOST_TURNS:]
            ),
            filter=check_filter(self.filter) if self.filter else {},
            temperature=self.temperature,
            max_tokens=self.max_completion_tokens or self.max_tokens,
        )


class EmbeddingRequest(_Lenient):
    model: str = Field(
        min_length=1,
        max_length=200,
        description="The embedding model of the service, or a collection",
        examples=["all-MiniLM-L6-v2"],
    )
    input: _Text | Annotated[list[_Text], Field(min_length=1, max_length=MAX_EMBEDDING_TEXTS)] = Field(
        description="A text, or up to 256", examples=[["What is a herring?"]]
    )
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="`base64`: little-endian float32", examples=["float"]
    )
    dimensions: Count | None = Field(None, description="Only what the model has", examples=[384])

    @property
    def texts(self) -> list[str]:
        """All texts."""
        return [self.input] if isinstance(self.input, str) else self.input


class ChatReplyMessage(BaseModel):
    role: Literal["assistant"]
    content: str = Field(examples=["Parental leave is 16 weeks. [1]"])
    citations: list[CitationReply]


class ChatChoice(BaseModel):
    index: Literal[0]
    message: ChatReplyMessage
    logprobs: None = Field(examples=[None])
    finish_reason: Literal["stop", "length"] = Field(examples=["stop"])


class ChatUsage(BaseModel):
    prompt_tokens: int = Field(examples=[214])
    completion_tokens: int = Field(examples=[9])
    total_tokens: int = Field(examples=[223])


class ChatReply(BaseModel):
    id: str = Field(examples=["chatcmpl-job_9d24b1f07c3e4a55b8e21c6f"])
    object: Literal["chat.completion"]
    created: int = Field(description="Unix seconds", examples=[1741944413])
    model: str = Field(description="The collection", examples=["handbook"])
    choices: list[ChatChoice] = Field(min_length=1, max_length=1)
    usage: ChatUsage
    citations: list[CitationReply] = Field(description="The same as those of the message")


class Embedding(BaseModel):
    object: Literal["embedding"]
    index: int = Field(examples=[0])
    embedding: list[float] | str = Field(
        description="Numbers, or for `base64` little-endian float32", examples=[[0.0421, -0.0087, 0.0613]]
    )


class EmbeddingUsage(BaseModel):
    prompt_tokens: int = Field(examples=[6])
    total_tokens: int = Field(examples=[6])


class EmbeddingReply(BaseModel):
    object: Literal["list"]
    model: str = Field(examples=["all-MiniLM-L6-v2"])
    data: list[Embedding]
    usage: EmbeddingUsage


class ModelReply(BaseModel):
    id: str = Field(description="Name of the collection", examples=["handbook"])
    object: Literal["model"] = "model"
    created: int = Field(description="Unix seconds", examples=[1741944413])
    owned_by: str = "ragline"


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelReply]
