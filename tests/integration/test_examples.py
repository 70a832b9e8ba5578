"""The examples of the OpenAPI file work: each request is sent, and each answer is what the file says it is."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs
import pytest

from tests.support import pdfs
from tests.support.stack import Stack, running_stack
from tests.support.waiting import wait_until

DOCUMENT: dict[str, Any] = json.loads(Path("docs/openapi.json").read_text(encoding="utf-8"))
JSON = "application/json"

Case = tuple[str, str, str, dict[str, Any]]


def _cases() -> list[Case]:
    """Method, path, media type of the request and the operation; what deletes comes last."""
    found = [
        (method, path, media_type, operation)
        for path, item in DOCUMENT["paths"].items()
        for method, operation in item.items()
        for media_type in operation.get("requestBody", {}).get("content", {"": {}})
    ]
    assert len(found) >= 30
    return sorted(found, key=lambda case: (case[0] == "delete", case[1]))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A service with what the examples speak of: a file in the upload folder, and the collection `handbook`."""
    folder = tmp_path_factory.mktemp("examples")
    with running_stack(folder) as running:
        (folder / "uploads" / "employee-handbook.pdf").write_bytes(pdfs.text_pdf(["Parental leave is 16 weeks."]))
        yield running


@pytest.fixture
def places(service: Stack) -> Mapping[str, str]:
    """What stands in paths: the names of the examples, and ids that exist."""
    submission: dict[str, Any] = {}

    def uploaded() -> bool:
        reply = service.client.post(
            "/v1/collections/handbook/documents",
            params={"name": "leave.pdf", "metadata": '{"department": "hr", "year": 2025}'},
            content=pdfs.text_pdf(["Parental leave is 16 weeks."]),
            headers={"Content-Type": "application/pdf"},
        )
        submission.update(reply.json())
        return reply.status_code == 202

    # One of the examples deletes the collection: until that is done, its name is not free.
    wait_until(uploaded, timeout_seconds=30)
    service.finished_job(submission["job_id"])
    ids = {"job_id": submission["job_id"], "document_id": submission["document_id"]}
    return {"name": "handbook", "model": "handbook", "code": "not_found", "task_id": submission["job_id"], **ids}


def _sent(service: Stack, case: Case, places: Mapping[str, str]) -> httpx2.Response:
    method, path, media_type, operation = case
    example = operation.get("requestBody", {}).get("content", {}).get(media_type, {}).get("example")
    request: dict[str, Any] = {}
    match media_type:
        case "":
            pass
        case "application/json":
            request["json"] = example
        case "multipart/form-data":
            files = example["file"] if isinstance(example["file"], list) else [example["file"]]
            parts = [("file", (f"example-{number}.pdf", text.encode())) for number, text in enumerate(files)]
            request |= {"data": {"metadata": example["metadata"]}, "files": parts}
        case _:
            parameters = [parameter for parameter in operation["parameters"] if parameter["in"] == "query"]
            request["params"] = {parameter["name"]: parameter["schema"]["examples"][0] for parameter in parameters}
            request |= {"content": example.encode(), "headers": {"Content-Type": media_type}}
    return service.client.request(method.upper(), path.format(**places), **request)


@pytest.mark.parametrize("case", _cases(), ids=lambda case: f"{case[0]} {case[1]} {case[2]}".strip())
def test_an_example_is_answered_as_declared(service: Stack, places: Mapping[str, str], case: Case) -> None:
    reply = _sent(service, case, places)

    assert reply.is_success, reply.text
    declared = case[3]["responses"][str(reply.status_code)]
    media_type = reply.headers["content-type"].partition(";")[0]
    content = declared["content"][media_type]
    if media_type == JSON:
        schema = {**content["schema"], "components": DOCUMENT["components"]}
        jsonschema_rs.validate(schema, reply.json(), validate_formats=True)
    assert declared["headers"].keys() >= {"X-Request-ID", "traceparent"}
    if reply.status_code == 202 and "Location" in declared["headers"]:
        assert service.client.get(reply.headers["location"]).json()["id"] == reply.json()["job_id"]
        for link in declared["links"].values():
            [(_, source)] = link["parameters"].items()
            assert reply.json()[source.rpartition("/")[2]]


@pytest.mark.parametrize("path", ["/v1/collections/handbook/queries", "/v1/chat/completions"])
def test_the_same_example_as_a_stream(service: Stack, places: Mapping[str, str], path: str) -> None:
    template = path.replace("/handbook/", "/{name}/")
    operation = DOCUMENT["paths"][template]["post"]
    body = {**operation["requestBody"]["content"][JSON]["example"]}
    if "stream" in body:
        body["stream"] = True

    reply = service.client.post(path, json=body, headers={"Accept": "text/event-stream"})

    assert reply.headers["content-type"].startswith("text/event-stream")
    item = operation["responses"]["200"]["content"]["text/event-stream"]["itemSchema"]
    events = [
        dict(line.partition(": ")[::2] for line in block.splitlines() if not line.startswith(":"))
        for block in reply.text.strip().split("\n\n")
    ]
    events = [event for event in events if event]
    assert len(events) >= 3
    for event in events:
        jsonschema_rs.validate(item, event)
