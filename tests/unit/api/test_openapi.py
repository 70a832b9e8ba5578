"""The OpenAPI document is one a stranger can work with."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from ragline.api import main, schemas
from ragline.api.main import create_app
from ragline.api.problems import PROBLEM_MEDIA_TYPE
from ragline.common.config import ApiConfig

METHODS = {"get", "put", "post", "delete", "patch"}
MACHINE_PATH = re.compile(r"(?<![\w.~})-])/(?:root|home|tmp|work|Users|opt|usr)/")
ORIGINAL = {
    "/tasks/info",
    "/tasks/process",
    "/tasks/status/{task_id}",
    "/tasks/calculate/add",
    "/tasks/calculate/divide",
    "/tasks/workflow/chain",
    "/tasks/workflow/parallel",
    "/rag/pipeline",
    "/rag/query",
    "/rag/query/sync",
}

Operation = tuple[str, dict[str, Any]]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.setattr(main, "configure_logging", lambda **_: None)
    return create_app(ApiConfig(upload_root=Path("/root/uploads"), object_store_url="file:///root/objects"))


@pytest.fixture
def document(service: FastAPI) -> dict[str, Any]:
    return service.openapi()


def _operations(document: dict[str, Any]) -> list[Operation]:
    found = [
        (f"{method.upper()} {path}", operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]
    assert len(found) >= 20
    return found


def _values(node: object, key: str) -> Iterator[object]:
    match node:
        case dict():
            for name, value in node.items():
                if name == key:
                    yield value
                yield from _values(value, key)
        case list():
            for value in node:
                yield from _values(value, key)
        case _:
            return


OF_OPENAI = {"POST /v1/chat/completions", "POST /v1/embeddings"}


def test_every_operation_has_a_name_of_its_own_and_a_summary(document: dict[str, Any]) -> None:
    operations = _operations(document)
    names = Counter(operation["operationId"] for _, operation in operations)

    assert [name for name, count in names.items() if count > 1] == []
    assert all(re.fullmatch(r"[a-z][a-z_]*", name) for name in names)
    assert [address for address, operation in operations if not operation.get("summary") or not operation["tags"]] == []


def test_the_addresses_of_the_original_are_there(document: dict[str, Any]) -> None:
    assert document["paths"].keys() >= ORIGINAL


def test_every_operation_promises_problems(document: dict[str, Any]) -> None:
    for address, operation in _operations(document):
        for status in ("4XX", "5XX"):
            assert PROBLEM_MEDIA_TYPE in operation["responses"][status]["content"], address


def test_every_request_body_has_an_example_and_knows_all_its_keys(document: dict[str, Any]) -> None:
    bodies = [(address, body) for address, operation in _operations(document) if (body := operation.get("requestBody"))]
    assert len(bodies) >= 10
    for address, body in bodies:
        for media_type, content in body["content"].items():
            if media_type != "application/json":
                # Bytes of a file: what they are is all there is to say.
                assert "application/pdf" in _values(content["schema"], "contentMediaType"), address
                continue
            schema = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
            assert all(field.get("examples") for field in schema["properties"].values()), address
            # OpenAI's clients send much that we have no use for.
            assert (schema.get("additionalProperties", True) is False) == (address not in OF_OPENAI), address


def _request_models() -> list[type[BaseModel]]:
    models = [getattr(schemas, name) for name in schemas.__all__]
    found = [model for model in models if issubclass(model, schemas.StrictModel) and model is not schemas.StrictModel]
    assert len(found) >= 7
    return found


@pytest.mark.parametrize("model", _request_models(), ids=lambda model: model.__name__)
def test_the_examples_work(model: type[BaseModel]) -> None:
    example = {name: (field.examples or [None])[0] for name, field in model.model_fields.items()}

    assert model.model_validate(example).model_dump() == example


def test_no_path_of_a_machine_leaks(document: dict[str, Any]) -> None:
    text = json.dumps(document)

    assert MACHINE_PATH.findall(text) == []
    assert str(Path.cwd()) not in text


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = {str(reference).rpartition("/")[2] for reference in _values(document, "$ref")}

    assert references
    assert references <= document["components"]["schemas"].keys()
