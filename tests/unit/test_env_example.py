"""`.env.example` lists every setting with its default and its description, and nothing else."""

import re
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from ragline.common.config import ApiConfig, BaseConfig, LocalConfig, WorkerConfig

EXAMPLE = Path(__file__).resolve().parents[2] / ".env.example"

NAMES_OF_THE_ORIGINAL = [
    "OPENAI_API_KEY",
    "REDIS_URL",
    "CHUNK_SIZE",
    "CHUNK_OVERLAP",
    "LLM_MODEL",
    "RETRIEVAL_TOP_K",
    "API_KEYS",
    "ENABLE_AUTH",
    "LOG_LEVEL",
    "LOG_FORMAT",
]

SETTING = re.compile(r"^# (?P<description>.+)\n#(?P<name>[A-Z_]+)=(?P<default>.*)$", re.MULTILINE)


def _settings() -> dict[str, FieldInfo]:
    """What every process knows comes first and so wins over what `ragline up` puts in its place."""
    fields: dict[str, FieldInfo] = {}
    for config in (BaseConfig, ApiConfig, WorkerConfig, LocalConfig):
        for name, field in config.model_fields.items():
            fields.setdefault(name.upper(), field)
    return fields


def _written(default: object) -> str:
    match default:
        case None:
            return ""
        case SecretStr():
            return default.get_secret_value()
        case bool():
            return str(default).lower()
        case _:
            return str(default)


def _listed() -> list[tuple[str, str, str]]:
    listed = SETTING.findall(EXAMPLE.read_text(encoding="utf-8"))
    assert listed
    return [(name, default, description) for description, name, default in listed]


def test_every_setting_is_listed_with_its_default_and_description() -> None:
    expected = {(name, _written(field.default), field.description) for name, field in _settings().items()}
    assert set(_listed()) == expected


def test_settings_are_listed_once_and_those_of_the_original_come_first() -> None:
    names = [name for name, _, _ in _listed()]
    assert len(names) == len(set(names))
    assert names[: len(NAMES_OF_THE_ORIGINAL)] == NAMES_OF_THE_ORIGINAL


def test_a_copy_changes_nothing() -> None:
    """Each line is a comment, so `make env` cannot pin a default or hide an embedded part."""
    assert all(line == "" or line.startswith("#") for line in EXAMPLE.read_text(encoding="utf-8").splitlines())
