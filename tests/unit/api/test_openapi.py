"""The OpenAPI document is one a stranger can work with."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from docs.openapi import DOCUMENT, ERRORS, text_of
from docs.openapi import document as generated
from ragline.api import main, schemas
from ragline.api.error_pages import PAGES, all_pages, page_of
from ragline.api.main import create_app
from ragline.api.problems import PROBLEM_MEDIA_TYPE
from ragline.api.refusals import OF_OPERATIONS
from ragline.common.config import ApiConfig, WorkerConfig
from ragline.common.errors import RagError

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


def test_the_committed_files_are_what_the_code_says() -> None:
    written = "make openapi writes it anew"

    assert text_of(generated()) == DOCUMENT.read_text(encoding="utf-8"), written
    assert all_pages() == ERRORS.read_text(encoding="utf-8"), written


def test_every_operation_says_which_errors_it_can_give(document: dict[str, Any]) -> None:
    operations = _operations(document)
    assert {operation["operationId"] for _, operation in operations} == OF_OPERATIONS.keys()
    for address, operation in operations:
        refused = {status: reply for status, reply in operation["responses"].items() if status >= "400"}
        assert "500" in refused, address
        assert ("security" not in operation) == ("401" not in refused), address
        for status, reply in refused.items():
            described = document["components"]["responses"][reply["$ref"].rpartition("/")[2]]
            assert described["content"].keys() == {PROBLEM_MEDIA_TYPE}
            for name in described["content"][PROBLEM_MEDIA_TYPE]["examples"]:
                example = document["components"]["examples"][name]["value"]
                assert (str(example["status"]), example["code"]) == (status, name)
                assert ("Retry-After" in described["headers"]) >= example["retryable"]


def test_every_reply_has_an_example_of_its_schema(document: dict[str, Any]) -> None:
    seen = 0
    for address, operation in _operations(document):
        for status, reply in operation["responses"].items():
            for media_type, content in reply.get("content", {}).items():
                seen += 1
                assert "example" in content, (address, status)
                if media_type == "application/json":
                    schema = {**content["schema"], "components": document["components"]}
                    jsonschema_rs.validate(schema, content["example"], validate_formats=True)
    assert seen >= 30


def test_accepted_work_leads_to_its_job(document: dict[str, Any]) -> None:
    accepted = [
        reply
        for _, operation in _operations(document)
        for reply in operation["responses"].values()
        if any(str(reference).endswith("/SubmissionReply") for reference in _values(reply, "$ref"))
    ]
    assert len(accepted) >= 5
    for reply in accepted:
        assert reply["links"]["GetJob"] == {
            "operationId": "get_job",
            "parameters": {"job_id": "$response.body#/job_id"},
        }
        assert reply["headers"].keys() >= {"Location", "Retry-After", "RateLimit", "X-Request-ID"}


def test_every_link_leads_to_an_operation(document: dict[str, Any]) -> None:
    parameters = {
        operation["operationId"]: {parameter["name"] for parameter in operation.get("parameters", ())}
        for _, operation in _operations(document)
    }
    links = [link for links in _values(document, "links") if isinstance(links, dict) for link in links.values()]
    links = [link for link in links if isinstance(link, dict) and "operationId" in link]
    assert len(links) >= 20
    assert all(link["parameters"].keys() <= parameters[link["operationId"]] for link in links)


def test_what_starts_work_may_be_repeated(document: dict[str, Any]) -> None:
    for address, operation in _operations(document):
        if address.startswith("POST "):
            assert "Idempotency-Key" in {parameter["name"] for parameter in operation["parameters"]}, address


@pytest.mark.parametrize("kind", list(PAGES), ids=lambda kind: kind.__name__)
def test_the_page_of_an_error_says_what_to_do(kind: type[RagError]) -> None:
    page = PAGES[kind]
    assert page_of(kind) in ERRORS.read_text(encoding="utf-8")
    assert all(text.endswith(".") for text in (page.when, page.caller, page.operator))


def test_every_setting_that_a_page_names_exists() -> None:
    known = {name.upper() for config in (ApiConfig, WorkerConfig) for name in config.model_fields}
    named = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", all_pages()))

    assert len(named) >= 10
    assert named <= known


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


def _request_models() -> Sequence[type[BaseModel]]:
    models = [getattr(schemas, name) for name in schemas.__all__]
    found = [
        model
        for model in models
        if isinstance(model, type) and issubclass(model, schemas.StrictModel) and model is not schemas.StrictModel
    ]
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
    references = {str(reference) for reference in _values(document, "$ref")}
    components = {
        f"#/components/{section}/{name}" for section, named in document["components"].items() for name in named
    }

    assert references
    assert references <= components
