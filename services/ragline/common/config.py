"""Settings of every process, read from the environment, a ``.env`` file and secret files.

What the API and the workers are built of sees these classes; stores and pipeline are given plain values.
"""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote, urlsplit

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from ragline.common.constants import MAX_TOP_K, SECRETS_DIR, STEP_BUDGET
from ragline.common.identifiers import embedding_space
from ragline.common.redis_address import RedisAddress

__all__ = ["ApiConfig", "BaseConfig", "ConfigError", "LocalConfig", "ModelPrice", "WorkerConfig", "load_config"]

ConfigT = TypeVar("ConfigT", bound="_Settings")

_DEFAULT_MODELS = {"local": "all-MiniLM-L6-v2", "openai": "text-embedding-3-small"}

_HTTP_URL = r"^https?://."
_ORIGIN = r"https?://[^/\s]+"

_IPV4 = 4
_MAPPED_BITS = 96
"""Length of the prefix in front of an IPv4 address that is written as an IPv6 one."""


class ConfigError(Exception):
    """A setting is unknown, missing or out of range; the message names it."""


class ModelPrice(BaseModel):
    """What a model costs, USD per million tokens; what an embedding model reads is its input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(0, ge=0)
    output: float = Field(0, ge=0)


_PRICES = TypeAdapter(dict[str, ModelPrice])


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, values: dict[str, Any]) -> dict[str, Any]:
        # pydantic-settings leaves empty variables out, but not empty secret files.
        return {name: value for name, value in values.items() if value != ""}


class BaseConfig(_Settings):
    """What every process needs to know."""

    redis_url: SecretStr = Field(
        SecretStr("redis://localhost:6379/0"),
        description="Broker and ledger; may hold a password; behind Sentinels sentinel://host:port,host:port/0",
    )
    redis_password: SecretStr | None = Field(None, description="Password of Redis, when REDIS_URL names none")
    redis_sentinel_master: str = Field("", description="Name of the master, when REDIS_URL names Sentinels")
    redis_sentinel_password: SecretStr | None = Field(None, description="Password of the Sentinels themselves")
    object_store_url: str = Field(
        "file:///app/storage/objects",
        description="Originals and manifests: file:// folder, s3://, gs:// or az:// bucket",
    )
    chroma_url: str = Field(
        "http://localhost:8001",
        pattern=_HTTP_URL,
        description="Chroma's Rust server; the API only asks whether it is there",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Lowest level that is logged")
    log_format: Literal["json", "console"] = Field("json", description="json for machines, console for people")
    otel_exporter_otlp_endpoint: str = Field(
        "", pattern=r"^(https?://.+)?$", description="Collector that takes OTLP over HTTP; empty: nothing is traced"
    )
    otel_exporter_otlp_headers: SecretStr | None = Field(
        None, description="Headers for it, name=value,name=value, percent-encoded"
    )
    trace_sample_ratio: float = Field(
        1, ge=0, le=1, description="Share of the requests that are traced; what fails is kept in any case"
    )
    trace_content: bool = Field(default=False, description="Put questions, answers and passages into spans")
    embedder: Literal["local", "openai"] = Field(
        "local", description="local: MiniLM on the CPU, no key; openai: any compatible embeddings URL"
    )
    embedding_model: str = Field("", description="Model name; empty: the embedder's usual one")
    chunk_size: int = Field(1000, ge=100, le=8000, description="Longest chunk, characters")
    chunk_overlap: int = Field(200, ge=0, le=4000, description="Characters that neighbouring chunks share")
    pdf_engine: Literal["pdfium", "pypdf"] = Field("pdfium", description="First parser; the other one is the fallback")
    retrieval_top_k: int = Field(
        3, ge=1, le=MAX_TOP_K, description="Passages an answer rests on, unless asked otherwise"
    )
    llm_model: str = Field("gpt-4o-mini", description="Chat model that writes answers")

    @model_validator(mode="after")
    def _overlap_below_size(self) -> Self:
        if self.chunk_overlap >= self.chunk_size:
            msg = "CHUNK_OVERLAP must be smaller than CHUNK_SIZE"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _redis_can_be_found(self) -> Self:
        _ = self.redis_server
        return self

    @property
    def redis_address(self) -> str:
        """The address of Redis with the password in it."""
        url = self.redis_url.get_secret_value()
        parts = urlsplit(url)
        if self.redis_password is None or parts.password:
            return url
        user, _, host = parts.netloc.rpartition("@")
        password = quote(self.redis_password.get_secret_value(), safe="")
        return parts._replace(netloc=f"{user.removesuffix(':')}:{password}@{host}").geturl()

    @property
    def redis_server(self) -> RedisAddress:
        """What clients of Redis connect to."""
        secret = self.redis_sentinel_password
        return RedisAddress(
            url=self.redis_address,
            master=self.redis_sentinel_master,
            sentinel_password=None if secret is None else secret.get_secret_value(),
        )

    @property
    def embedding_model_name(self) -> str:
        """The model in use."""
        return self.embedding_model or _DEFAULT_MODELS[self.embedder]

    @property
    def embedding_space(self) -> str:
        """Name of the space new collections are made in."""
        return embedding_space(self.embedder, self.embedding_model_name)

    @property
    def pipeline_fingerprint(self) -> str:
        """Changes when the same bytes would give other chunks; part of deciding that an upload is unchanged."""
        return f"{self.pdf_engine}:{self.chunk_size}:{self.chunk_overlap}:{self.embedding_space}"


class ApiConfig(BaseConfig):
    """Settings of the API."""

    api_host: str = Field("127.0.0.1", description="Address the API listens on")
    api_port: int = Field(8000, ge=1, le=65535, description="Port the API listens on")
    web_concurrency: int = Field(1, ge=1, le=64, description="Processes of the API in one container")
    upload_root: Path = Field(Path("storage/uploads"), description="The folder `pdf_path` is confined to")
    max_upload_bytes: int = Field(100 * 2**20, ge=1, description="Largest accepted upload, bytes")
    api_keys: SecretStr = Field(
        SecretStr(""), description="Accepted keys, separated by commas, beside those of `ragline keys`"
    )
    enable_auth: bool = Field(default=False, description="Demand an API key")
    rate_limit_general_per_minute: int = Field(
        60, ge=0, description="Requests a key, or an address without one, may send in a minute; 0: no limit"
    )
    rate_limit_rag_per_minute: int = Field(20, ge=0, description="The same for questions and embeddings")
    trusted_proxies: str = Field(
        "", description="Addresses and networks of proxies whose X-Forwarded-For is believed, separated by commas"
    )
    cors_origins: str = Field(
        "", description="Web origins whose pages may call the API, separated by commas; empty: none"
    )
    docs_ui: bool = Field(default=True, description="Serve the pages /docs and /redoc")
    max_backlog: int = Field(
        100_000, ge=1, description="Most jobs that may wait on one queue, or for another try on it"
    )
    max_backlog_per_tenant: int = Field(
        10_000, ge=1, description="Most jobs of one tenant that may wait on one queue, or for another try on it"
    )
    max_streams: int = Field(1000, ge=1, description="Most open event streams of one API process")
    max_streams_per_tenant: int = Field(
        250, ge=1, description="Most open event streams of one tenant in one API process"
    )
    tenant_tokens_per_day: int = Field(
        0, ge=0, description="Tokens of the chat model a tenant may use in a day (UTC); 0: no limit"
    )
    llm_models: str = Field("", description="Chat models that a query may name besides LLM_MODEL, separated by commas")
    max_answer_tokens: int = Field(4096, ge=1, description="Most tokens of an answer that a query may ask for")
    answer_cache_seconds: int = Field(
        3600, ge=0, description="How long an answer is given again to the same question, seconds; 0: never"
    )
    query_timeout_seconds: float = Field(60, gt=0, le=600, description="Longest wait of a synchronous query, seconds")
    drain_seconds: float = Field(
        70, ge=1, le=3600, description="How long open requests and streams may go on after the order to stop, seconds"
    )

    @model_validator(mode="after")
    def _edges_can_be_read(self) -> Self:
        _ = self.proxy_networks
        if any(origin != "*" and not re.fullmatch(_ORIGIN, origin) for origin in self.allowed_origins):
            msg = "CORS_ORIGINS must be origins as browsers send them: https://app.example.com, without a path"
            raise ValueError(msg)
        return self

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """Web origins whose pages may call the API."""
        return _listed(self.cors_origins)

    @property
    def proxy_networks(self) -> tuple[str, ...]:
        """Networks of trusted proxies, those of IPv4 also as they look on a socket that takes both kinds."""
        try:
            networks = [ip_network(text) for text in _listed(self.trusted_proxies)]
        except ValueError as error:
            msg = f"TRUSTED_PROXIES must be addresses and networks: {error}"
            raise ValueError(msg) from None
        mapped = [
            f"::ffff:{network.network_address}/{_MAPPED_BITS + network.prefixlen}"
            for network in networks
            if network.version == _IPV4
        ]
        return (*map(str, networks), *mapped)


class WorkerConfig(BaseConfig):
    """Settings of the workers."""

    embedding_model_dir: Path | None = Field(
        None, description="Folder with model.onnx and tokenizer.json for EMBEDDER=local; EMBEDDING_MODEL must name it"
    )
    embedding_threads: int = Field(0, ge=0, le=256, description="CPU threads of the local model; 0: all it may use")
    embedding_concurrency: int = Field(8, ge=1, le=64, description="Embedding requests in flight per document (openai)")
    openai_api_key: SecretStr | None = Field(
        None, description="Key of the chat and embedding models; none: extractive answers"
    )
    openai_base_url: str = Field("https://api.openai.com/v1", description="Any OpenAI-compatible address")
    model_prices: str = Field(
        "",
        description='What models cost, USD per million tokens, JSON: {"gpt-4o-mini": {"input": 0.15, "output": 0.6}}',
    )
    prompt_template: Path | None = Field(
        None, description="File with the chat model's system prompt; none: the built-in one"
    )
    llm_timeout_seconds: float = Field(60, gt=0, le=600, description="Longest silence of a model, seconds")
    max_pages: int = Field(5000, ge=1, description="Most pages of one document")
    max_text_bytes: int = Field(50 * 2**20, ge=1, description="Most text of one document, UTF-8 bytes")
    parser_memory_bytes: int = Field(2**30, ge=2**28, description="Address space of the parser's process, bytes")
    parser_cpu_seconds: int = Field(20, ge=1, le=300, description="CPU time of one parser on one document, seconds")
    worker_name: str = Field(
        "", description="This worker's name behind its queue's: queue@name; empty: the host and the process id"
    )
    worker_concurrency: int = Field(0, ge=0, le=256, description="Tasks at the same time; 0: what suits the queue")
    cache_dir: Path = Field(Path("storage/cache"), description="Where the local embedder's graph is kept once built")
    probe_dir: Path | None = Field(
        None, description="Folder for the files `alive` and `ready`, touched while that is so; none: no files"
    )
    stop_timeout_seconds: float = Field(
        0, ge=0, le=3600, description="From SIGTERM until steps still running are put back, seconds; 0: never"
    )

    @field_validator("stop_timeout_seconds")
    @classmethod
    def _steps_may_hand_back(cls, value: float) -> float:
        budget = STEP_BUDGET.total_seconds()
        if 0 < value <= budget:
            msg = f"must be 0 or more than {budget:g}, the time in which a step hands back by itself"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _another_model_needs_a_name(self) -> Self:
        """The space is named after the model; vectors of two models in one space cannot be compared."""
        if self.embedder == "local" and self.embedding_model_dir is not None and not self.embedding_model:
            msg = "EMBEDDING_MODEL_DIR needs EMBEDDING_MODEL, the name of the model in that folder"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _prices_can_be_read(self) -> Self:
        _ = self.prices
        return self

    @property
    def prices(self) -> dict[str, ModelPrice]:
        """What models cost, by their names."""
        try:
            return _PRICES.validate_json(self.model_prices or "{}")
        except ValidationError:
            msg = 'MODEL_PRICES must be JSON such as {"gpt-4o-mini": {"input": 0.15, "output": 0.6}}'
            raise ValueError(msg) from None

    @model_validator(mode="after")
    def _openai_needs_a_key(self) -> Self:
        if self.embedder == "openai" and self.openai_api_key is None:
            msg = "EMBEDDER=openai needs OPENAI_API_KEY"
            raise ValueError(msg)
        return self


class LocalConfig(_Settings):
    """Settings of `ragline up`: where the embedded parts live. An address given from outside wins over one of them."""

    data_dir: Path = Field(Path("storage"), description="Everything the service keeps on a laptop")
    redis_port: int = Field(6380, ge=1, le=65535, description="Port of the embedded Valkey")
    chroma_port: int = Field(8001, ge=1, le=65535, description="Port of the embedded Chroma server")
    flower_port: int = Field(5555, ge=1, le=65535, description="Port of Flower")
    observer_port: int = Field(
        4318, ge=1, le=65535, description="Port that `ragline up --observe` takes and shows traces on"
    )
    api_port: int = Field(8000, ge=1, le=65535, description="Port the API listens on")
    redis_url: SecretStr | None = Field(None, description="Use this Redis instead of the embedded one")
    chroma_url: str | None = Field(
        None, pattern=_HTTP_URL, description="Use this Chroma server instead of the embedded one"
    )
    object_store_url: str | None = Field(None, description="Use this bucket instead of a folder")

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()


def _listed(text: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, text.split(","))))


def load_config(
    kind: type[ConfigT], env_file: Path | None = Path(".env"), *, secrets_dir: Path = SECRETS_DIR
) -> ConfigT:
    """Read the settings of one kind of process.

    Parameters
    ----------
    env_file
        Lower in rank than the environment. A key that no process knows is refused, so that a typo is not silent.
    secrets_dir
        Folder of files named after settings, in lower case; lower in rank than `env_file`. It need not exist.

    Raises
    ------
    ConfigError
        Naming the setting and what is wrong with it.
    """
    if env_file and env_file.is_file():
        known = {name for config in (ApiConfig, WorkerConfig, LocalConfig) for name in config.model_fields}
        unknown = sorted(key for key in dotenv_values(env_file) if key.lower() not in known)
        if unknown:
            msg = f"{env_file} holds settings that do not exist: {', '.join(unknown)}"
            raise ConfigError(msg)
    try:
        return kind(_env_file=env_file, _secrets_dir=secrets_dir if secrets_dir.is_dir() else None)
    except SettingsError as error:
        # Only secret files are read here that can fail to be: not text, or not for this user.
        msg = f"{secrets_dir}: {error}: {type(error.__cause__).__name__}"
        raise ConfigError(msg) from None
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])).upper() or 'settings'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise ConfigError(problems) from None
