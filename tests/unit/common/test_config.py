"""Settings: defaults, names, what is refused and how it is said."""

import os
from pathlib import Path
from typing import Any

import pytest
from kombu.utils.url import url_to_parts
from pydantic import SecretStr, ValidationError
from redis.connection import parse_url

from ragline.common.config import ApiConfig, BaseConfig, ConfigError, LocalConfig, WorkerConfig, load_config

KINDS: list[type[ApiConfig | WorkerConfig | LocalConfig]] = [ApiConfig, WorkerConfig, LocalConfig]

SECRET = "a-secret-of-a-test"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine: no variable, no file ``.env``."""
    names = {name.upper() for kind in KINDS for name in kind.model_fields}
    for name in os.environ:
        if name.upper() in names:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def _worker(**settings: Any) -> WorkerConfig:  # noqa: ANN401 - settings of any type
    return WorkerConfig(**settings)


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_has_a_default_and_a_description(kind: type[ApiConfig | WorkerConfig | LocalConfig]) -> None:
    assert load_config(kind) == kind()
    assert all(field.description for field in kind.model_fields.values())


def test_defaults_of_the_readme() -> None:
    api, worker, local = load_config(ApiConfig), load_config(WorkerConfig), load_config(LocalConfig)
    assert (api.chunk_size, api.chunk_overlap, api.retrieval_top_k) == (1000, 200, 3)
    assert (api.embedder, api.embedding_space) == ("local", "local/all-MiniLM-L6-v2")
    assert (api.log_level, api.log_format, api.enable_auth) == ("INFO", "json", False)
    assert (worker.openai_api_key, worker.llm_model) == (None, "gpt-4o-mini")
    assert worker.openai_base_url == "https://api.openai.com/v1"
    assert (local.redis_url, local.chroma_url, local.object_store_url) == (None, None, None)


def test_api_listens_on_this_machine_alone_by_default() -> None:
    assert load_config(ApiConfig).api_host == "127.0.0.1"


def test_names_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHUNK_SIZE", "1500")
    monkeypatch.setenv("chunk_overlap", "0")
    monkeypatch.setenv("REDIS_URL", "redis://:pw@elsewhere:1/2")
    monkeypatch.setenv("MAX_PAGES", "7")
    monkeypatch.setenv("SOMETHING_ELSE", "of another program")
    worker = load_config(WorkerConfig)
    assert (worker.chunk_size, worker.chunk_overlap, worker.max_pages) == (1500, 0, 7)
    assert worker.redis_url.get_secret_value() == "redis://:pw@elsewhere:1/2"
    assert load_config(ApiConfig).chunk_size == 1500


def test_environment_wins_over_file(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file.write_text("CHUNK_SIZE=1500\nRETRIEVAL_TOP_K=9\n")
    monkeypatch.setenv("CHUNK_SIZE", "1600")
    config = load_config(ApiConfig)
    assert (config.chunk_size, config.retrieval_top_k) == (1600, 9)


def test_empty_value_is_the_default(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a line of a template leaves it that nobody filled in."""
    env_file.write_text("OPENAI_API_KEY=\nCHUNK_SIZE=\n")
    monkeypatch.setenv("LOG_LEVEL", "")
    config = load_config(WorkerConfig)
    assert (config.openai_api_key, config.chunk_size, config.log_level) == (None, 1000, "INFO")


def test_secret_files_rank_below_environment_and_env_file(
    env_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in ("openai_api_key", "redis_password", "api_keys", "llm_model"):
        (secrets / name).write_text(f"{name} of a file\n")
    (secrets / "of_another_program").write_text("ignored")
    env_file.write_text("API_KEYS=of-env-file\nREDIS_PASSWORD=of-env-file\n")
    monkeypatch.setenv("REDIS_PASSWORD", "of-environment")

    worker = load_config(WorkerConfig, secrets_dir=secrets)

    assert worker.openai_api_key == SecretStr("openai_api_key of a file")
    assert worker.redis_password == SecretStr("of-environment")
    assert worker.llm_model == "llm_model of a file"
    assert load_config(ApiConfig, secrets_dir=secrets).api_keys == SecretStr("of-env-file")


def test_empty_secret_file_is_none(tmp_path: Path) -> None:
    for name in ("openai_api_key", "redis_password", "redis_url"):
        (tmp_path / name).write_text("\n")
    assert load_config(WorkerConfig, secrets_dir=tmp_path) == WorkerConfig()
    (tmp_path / "embedder").write_text("openai")
    with pytest.raises(ConfigError, match="EMBEDDER=openai needs OPENAI_API_KEY"):
        load_config(WorkerConfig, secrets_dir=tmp_path)


def test_secret_files_as_kubernetes_mounts_them(tmp_path: Path) -> None:
    """Each file is a link into a folder that is exchanged as a whole."""
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "openai_api_key").write_text(SECRET)
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "openai_api_key").symlink_to("..data/openai_api_key")
    assert load_config(WorkerConfig, secrets_dir=tmp_path).openai_api_key == SecretStr(SECRET)


def test_secret_file_that_is_no_text_is_named_without_its_content(tmp_path: Path) -> None:
    (tmp_path / "openai_api_key").write_bytes(b"sk-\xff\xfe")
    with pytest.raises(ConfigError, match=r'field "openai_api_key" .*: UnicodeDecodeError\Z') as raised:
        load_config(WorkerConfig, secrets_dir=tmp_path)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("url", "password", "expected"),
    [
        ("redis://host:1/2", None, (None, None)),
        ("redis://host:1/2", "p@s:s/w?o#r%d \u00e9", (None, "p@s:s/w?o#r%d \u00e9")),
        ("rediss://user@host:1/2", "pw", ("user", "pw")),
        ("redis://user:@host:1/2", "pw", ("user", "pw")),
        ("redis://user:own@host:1/2", "pw", ("user", "own")),
        ("redis://:own@host:1/2", "pw", (None, "own")),
    ],
)
def test_password_enters_the_address_unless_the_url_has_one(
    url: str, password: str | None, expected: tuple[str | None, str | None]
) -> None:
    """As both clients read it: ours, and Celery's."""
    config = ApiConfig(redis_url=SecretStr(url), redis_password=None if password is None else SecretStr(password))
    ours = parse_url(config.redis_address)  # type: ignore[no-untyped-call]
    assert (ours["host"], ours["port"], ours["db"]) == ("host", 1, 2)
    assert (ours.get("username") or None, ours.get("password")) == expected
    celerys = url_to_parts(config.redis_address)
    assert (celerys.hostname, celerys.port, celerys.path) == ("host", 1, "2")
    assert (celerys.username or None, celerys.password) == expected


def test_sentinels_are_named_with_their_master_and_both_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "sentinel://one:1,two:2/3")
    with pytest.raises(ConfigError, match="needs REDIS_SENTINEL_MASTER, the name of the master"):
        load_config(ApiConfig)
    monkeypatch.setenv("REDIS_SENTINEL_MASTER", "ours")
    monkeypatch.setenv("REDIS_PASSWORD", "p@s,s;w/o#r%d \u00e9")
    monkeypatch.setenv("REDIS_SENTINEL_PASSWORD", SECRET)
    server = load_config(ApiConfig).redis_server
    assert (server.sentinels, server.master) == ((("one", 1), ("two", 2)), "ours")
    assert (server.password, server.database, server.sentinel_password) == ("p@s,s;w/o#r%d \u00e9", 3, SECRET)


@pytest.mark.parametrize("name", ["REDIS_SENTINEL_MASTER", "REDIS_SENTINEL_PASSWORD"])
def test_settings_of_sentinels_need_their_address(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, SECRET)
    with pytest.raises(ConfigError, match="need a REDIS_URL that begins with sentinel://") as raised:
        load_config(WorkerConfig)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("seconds", ["1", "20", "-1", "nan"])
def test_stop_timeout_leaves_a_step_its_budget(seconds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOP_TIMEOUT_SECONDS", seconds)
    with pytest.raises(ConfigError, match=r"\ASTOP_TIMEOUT_SECONDS: [^\n]+\Z"):
        load_config(WorkerConfig)
    for allowed in (0, 20.5, 45):
        monkeypatch.setenv("STOP_TIMEOUT_SECONDS", str(allowed))
        assert load_config(WorkerConfig).stop_timeout_seconds == allowed


def test_one_file_serves_all_processes(env_file: Path) -> None:
    env_file.write_text("# comment\nAPI_PORT=9000\nexport MAX_PAGES='7'\nredis_port=7000\n\n")
    assert load_config(ApiConfig).api_port == 9000
    assert load_config(WorkerConfig).max_pages == 7
    assert (load_config(LocalConfig).redis_port, load_config(LocalConfig).api_port) == (7000, 9000)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_name_in_a_file_is_refused(kind: type[ApiConfig | WorkerConfig | LocalConfig], env_file: Path) -> None:
    env_file.write_text(f"CHUNK_SIZE=900\nCHUNK_SIZES={SECRET}\nOPENAI_KEY={SECRET}\nNO_VALUE\n")
    with pytest.raises(ConfigError) as raised:
        load_config(kind)
    assert str(raised.value) == ".env holds settings that do not exist: CHUNK_SIZES, NO_VALUE, OPENAI_KEY"


def test_other_file_and_no_file(tmp_path: Path, env_file: Path) -> None:
    env_file.write_text("NONSENSE=1")
    (tmp_path / "other").write_text("CHUNK_SIZE=900")
    assert load_config(ApiConfig, tmp_path / "other").chunk_size == 900
    assert load_config(ApiConfig, None).chunk_size == 1000
    assert load_config(ApiConfig, tmp_path / "missing").chunk_size == 1000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHUNK_SIZE", "99"),
        ("CHUNK_SIZE", "8001"),
        ("CHUNK_SIZE", "1e3"),
        ("CHUNK_SIZE", "many"),
        ("CHUNK_OVERLAP", "-1"),
        ("RETRIEVAL_TOP_K", "0"),
        ("RETRIEVAL_TOP_K", "51"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_FORMAT", "xml"),
        ("EMBEDDER", "magic"),
        ("PDF_ENGINE", "magic"),
        ("CHROMA_URL", "localhost:8001"),
        ("CHROMA_URL", "http://"),
        ("API_PORT", "0"),
        ("API_PORT", "65536"),
        ("MAX_UPLOAD_BYTES", "0"),
        ("QUERY_TIMEOUT_SECONDS", "0"),
        ("QUERY_TIMEOUT_SECONDS", "nan"),
        ("QUERY_TIMEOUT_SECONDS", "inf"),
        ("ENABLE_AUTH", "perhaps"),
    ],
)
def test_value_out_of_range_is_refused_by_name(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=rf"\A{name}: [^\n]+\Z"):
        load_config(ApiConfig)


def test_all_wrong_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHUNK_SIZE", "1")
    monkeypatch.setenv("LOG_LEVEL", "LOUD")
    with pytest.raises(ConfigError, match=r"CHUNK_SIZE: .+; .*LOG_LEVEL: .+|LOG_LEVEL: .+; .*CHUNK_SIZE: .+"):
        load_config(WorkerConfig)


@pytest.mark.parametrize("overlap", ["500", "501"])
def test_overlap_is_smaller_than_the_chunk(overlap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHUNK_SIZE", "500")
    monkeypatch.setenv("CHUNK_OVERLAP", overlap)
    for kind in (ApiConfig, WorkerConfig):
        with pytest.raises(ConfigError, match="CHUNK_OVERLAP must be smaller than CHUNK_SIZE"):
            load_config(kind)
    monkeypatch.setenv("CHUNK_OVERLAP", "499")
    assert load_config(ApiConfig).chunk_overlap == 499


def test_embedder_with_a_key_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDER", "openai")
    with pytest.raises(ConfigError, match="EMBEDDER=openai needs OPENAI_API_KEY"):
        load_config(WorkerConfig)
    # The API embeds nothing, and has no key.
    assert load_config(ApiConfig).embedding_space == "openai/text-embedding-3-small"
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert load_config(WorkerConfig).embedding_space == "openai/text-embedding-3-small"


def test_model_of_ones_own_needs_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its vectors would share a space with those of the usual model."""
    monkeypatch.setenv("EMBEDDING_MODEL_DIR", "/models/e5")
    with pytest.raises(ConfigError, match="EMBEDDING_MODEL_DIR needs EMBEDDING_MODEL"):
        load_config(WorkerConfig)
    monkeypatch.setenv("EMBEDDING_MODEL", "e5-small")
    assert load_config(WorkerConfig).embedding_space == "local/e5-small"


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "REDIS_URL": f"redis://:{SECRET}@host:6379/0",
        "REDIS_PASSWORD": SECRET,
        "API_KEYS": SECRET,
        "OPENAI_API_KEY": SECRET,
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    for kind in KINDS:
        config = load_config(kind)
        held = [value for _, value in config if isinstance(value, SecretStr) and SECRET in value.get_secret_value()]
        assert held
        shown = (repr(config), str(config), f"{config}", config.model_dump_json(), str(config.model_dump()))
        assert not any(SECRET in text for text in shown)


def test_secrets_are_not_shown_by_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://:{SECRET}@host:6379/0")
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("CHUNK_SIZE", SECRET)
    monkeypatch.setenv("EMBEDDER", SECRET)
    with pytest.raises(ConfigError) as raised:
        load_config(WorkerConfig)
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_settings_do_not_change() -> None:
    config = _worker()
    with pytest.raises(ValidationError, match="frozen"):
        config.chunk_size = 500  # type: ignore[misc] # that it cannot be set is what is tested


def test_data_folder_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Parts of the service run in folders of their own."""
    assert load_config(LocalConfig).data_dir == tmp_path / "storage"
    monkeypatch.setenv("HOME", "/a/home")
    monkeypatch.setenv("DATA_DIR", "~/ragline")
    assert load_config(LocalConfig).data_dir == Path("/a/home/ragline")


def test_fingerprint_changes_with_what_changes_chunks() -> None:
    base = _worker().pipeline_fingerprint
    changed = [
        _worker(chunk_size=1001),
        _worker(chunk_overlap=201),
        _worker(pdf_engine="pypdf"),
        _worker(embedding_model="another"),
        _worker(embedder="openai", openai_api_key=SecretStr(SECRET)),
        _worker(embedder="openai", openai_api_key=SecretStr(SECRET), embedding_model="all-MiniLM-L6-v2"),
    ]
    prints = [config.pipeline_fingerprint for config in changed]
    assert len({base, *prints}) == 1 + len(changed)
    assert SECRET not in str(prints)


def test_fingerprint_does_not_change_with_the_rest() -> None:
    """Else an upload that is unchanged would be worked on again."""
    others = [
        _worker(log_level="DEBUG"),
        _worker(retrieval_top_k=9),
        _worker(llm_model="another"),
        _worker(openai_api_key=SecretStr(SECRET)),
        _worker(embedding_model="all-MiniLM-L6-v2"),
        _worker(embedding_threads=4, worker_concurrency=2, max_pages=9),
        _worker(chroma_url="http://elsewhere:1"),
    ]
    assert {config.pipeline_fingerprint for config in others} == {_worker().pipeline_fingerprint}


def test_api_and_worker_agree_on_fingerprint_and_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API decides by them whether an upload is unchanged, before any worker has seen it."""
    monkeypatch.setenv("EMBEDDER", "openai")
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("EMBEDDING_MODEL", "another")
    monkeypatch.setenv("CHUNK_SIZE", "700")
    configs: list[BaseConfig] = [load_config(ApiConfig), load_config(WorkerConfig)]
    assert {config.embedding_space for config in configs} == {"openai/another"}
    assert len({config.pipeline_fingerprint for config in configs}) == 1


@pytest.mark.parametrize(
    ("given", "networks"),
    [
        ("", ()),
        (" , ", ()),
        ("10.1.2.3", ("10.1.2.3/32", "::ffff:10.1.2.3/128")),
        ("10.0.0.0/8, fd00::/8", ("10.0.0.0/8", "fd00::/8", "::ffff:10.0.0.0/104")),
    ],
)
def test_trusted_proxies_are_networks(given: str, networks: tuple[str, ...]) -> None:
    assert ApiConfig(trusted_proxies=given).proxy_networks == networks


@pytest.mark.parametrize("given", ["*", "ingress", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8;10.1.0.0/16"])
def test_what_is_no_network_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", given)
    with pytest.raises(ConfigError, match="TRUSTED_PROXIES"):
        load_config(ApiConfig)


def test_origins_are_a_list() -> None:
    given = "https://a.example.com, http://localhost:3000,"
    assert ApiConfig(cors_origins=given).allowed_origins == ("https://a.example.com", "http://localhost:3000")


@pytest.mark.parametrize("given", ["a.example.com", "https://a.example.com/", "https://a/b", "ftp://a", "https://"])
def test_what_is_no_origin_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", given)
    with pytest.raises(ConfigError, match="CORS_ORIGINS"):
        load_config(ApiConfig)


def test_prices_of_models_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_PRICES", '{"gpt-4o-mini": {"input": 0.15, "output": 0.6}, "embed": {"input": 0.02}}')
    prices = load_config(WorkerConfig, None).prices
    assert (prices["gpt-4o-mini"].output, prices["embed"].input, prices["embed"].output) == (0.6, 0.02, 0)


@pytest.mark.parametrize("text", ["0.15", '{"gpt": 0.15}', '{"gpt": {"in": 1}}', '{"gpt": {"input": -1}}', "{"])
def test_prices_that_cannot_be_read_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MODEL_PRICES", text)
    with pytest.raises(ConfigError, match="MODEL_PRICES must be JSON such as"):
        load_config(WorkerConfig, None)
