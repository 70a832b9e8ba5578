"""The OpenAPI document: what FastAPI reads from the handlers, and what they have in common, told once."""

from collections.abc import Iterator, Mapping
from typing import Any

from typing_extensions import override

from ragline.api.problems import PROBLEM_MEDIA_TYPE, problem
from ragline.api.refusals import refusals
from ragline.api.routes import PlannedApi
from ragline.common.errors import RagError, Unauthorized
from ragline.common.traceparent import trace_id_of

__all__ = ["DescribedApi"]

_JSON = "application/json"
_METHODS = ("get", "post", "delete")

_PLACES = {
    "code": "not_found",
    "document_id": "doc_5f1c0a9be2d34c7781a6f00d",
    "job_id": "job_9d24b1f07c3e4a55b8e21c6f",
    "model": "handbook",
    "name": "handbook",
    "task_id": "job_9d24b1f07c3e4a55b8e21c6f",
}
"""Examples of what stands in a path."""

_HEADERS = {
    "ETag": "Changes with the job; send it back as `If-None-Match`",
    "Location": "Address of the job",
    "Preference-Applied": "What of `Prefer` was heeded",
    "RateLimit": "Requests left of the policy, and the seconds until one more is; absent without a limit",
    "RateLimit-Policy": "The limit that the request counts towards: requests in a window of seconds",
    "Retry-After": "Seconds to wait before the next try, or look",
    "WWW-Authenticate": "How to send a key",
    "X-Request-ID": "Names this request in the service's logs",
    "traceparent": "The trace that this request belongs to (W3C Trace Context)",
}
_HEADER_EXAMPLES = {
    "ETag": 'W/"6c1f2a9b7de04c3388b1f0aa"',
    "Location": "/v1/jobs/job_9d24b1f07c3e4a55b8e21c6f",
    "Preference-Applied": "respond-async",
    "RateLimit": '"general";r=59;t=12',
    "RateLimit-Policy": '"general";q=60;w=60',
    "Retry-After": 1,
    "WWW-Authenticate": "Bearer",
    "X-Request-ID": "req_3f2a61c07b9d4e58",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}

_OF_FASTAPI = ("HTTPValidationError", "ValidationError")
"""What it would answer to an invalid request, and we do not."""

_JOB = {
    "CancelJob": ("cancel_job", "job_id"),
    "GetJob": ("get_job", "job_id"),
    "GetJobEvents": ("get_job_events", "job_id"),
}
_LINKS = {
    # Schema of the reply: name of the link, operation, its parameter, where in the reply that is.
    "AnswerReply": [("GetJob", "get_job", "job_id", "job_id")],
    "JobReply": [("GetJobEvents", "get_job_events", "job_id", "id")],
    "PipelineReply": [
        ("GetJob", "get_job", "job_id", "job_id"),
        ("GetDocument", "get_document", "document_id", "document_id"),
    ],
    "SubmissionReply": [(name, operation, place, "job_id") for name, (operation, place) in _JOB.items()],
    "TaskSubmitted": [
        ("GetTaskStatus", "get_task_status", "task_id", "task_id"),
        ("GetJob", "get_job", "job_id", "task_id"),
    ],
}
_OF_DOCUMENTS = ("upload_document", "delete_document")
"""Operations whose `SubmissionReply` names a document."""


class DescribedApi(PlannedApi):
    """An app whose OpenAPI document also tells of what is the same everywhere: refusals, headers, links, examples."""

    @override
    def openapi(self) -> dict[str, Any]:
        """The document; made once."""
        if not self.openapi_schema:
            _describe(super().openapi())
        return super().openapi()


def _describe(document: dict[str, Any]) -> None:
    components = document["components"]
    components["headers"] = {
        name: {"description": told, "schema": _header_schema(name), "example": _HEADER_EXAMPLES[name]}
        for name, told in _HEADERS.items()
    }
    components["responses"], components["examples"] = {}, {}
    for schema in _OF_FASTAPI:
        components["schemas"].pop(schema, None)
    for operation in _operations(document):
        operation["responses"].pop("422", None)
        for parameter in operation.get("parameters", ()):
            _describe_parameter(parameter)
        for content in operation.get("requestBody", {}).get("content", {}).values():
            _exemplify(content, components["schemas"])
        for response in operation["responses"].values():
            _describe_reply(response, operation, components["schemas"])
        _add_refusals(operation, components)


def _operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for item in document["paths"].values():
        yield from (item[method] for method in _METHODS if method in item)


def _describe_parameter(parameter: dict[str, Any]) -> None:
    if parameter["in"] == "path":
        parameter["example"] = _PLACES[parameter["name"]]
    schema = parameter["schema"]
    # What is left out is not sent as null.
    kinds = [kind for kind in schema.pop("anyOf", ()) if kind != {"type": "null"}]
    for kind in kinds:
        schema.update(kind)


def _describe_reply(response: dict[str, Any], operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> None:
    headers = ["X-Request-ID", "traceparent", *(["RateLimit", "RateLimit-Policy"] if "security" in operation else [])]
    response["headers"] = {**response.get("headers", {}), **_references("headers", headers)}
    for name in response["headers"]:
        response["headers"][name] = {"$ref": f"#/components/headers/{name}"}
    for content in response.get("content", {}).values():
        _exemplify(content, schemas)
    kind = response.get("content", {}).get(_JSON, {}).get("schema", {}).get("$ref", "").rpartition("/")[2]
    links = list(_LINKS.get(kind, ()))
    if operation["operationId"] in _OF_DOCUMENTS and kind == "SubmissionReply":
        links.append(("GetDocument", "get_document", "document_id", "document_id"))
    if links:
        response["links"] = {
            name: {"operationId": target, "parameters": {place: f"$response.body#/{source}"}}
            for name, target, place, source in links
        }


def _add_refusals(operation: dict[str, Any], components: dict[str, Any]) -> None:
    by_status: dict[int, list[type[RagError]]] = {}
    for kind in sorted(refusals(operation), key=lambda kind: kind.code):
        by_status.setdefault(kind.status, []).append(kind)
    for status, kinds in sorted(by_status.items()):
        name = "_or_".join(kind.code for kind in kinds)
        if name not in components["responses"]:
            components["responses"][name] = _refusal(kinds)
            components["examples"] |= {kind.code: {"value": _problem_example(kind)} for kind in kinds}
        operation["responses"][str(status)] = {"$ref": f"#/components/responses/{name}"}


def _refusal(kinds: list[type[RagError]]) -> dict[str, Any]:
    headers = ["X-Request-ID", "traceparent"]
    headers += ["Retry-After"] if any(kind.retryable for kind in kinds) else []
    headers += ["WWW-Authenticate"] if Unauthorized in kinds else []
    content = {
        "schema": {"$ref": "#/components/schemas/Problem"},
        "examples": _references("examples", [kind.code for kind in kinds]),
    }
    return {
        "description": "; ".join(f"`{kind.code}`: {kind.title}" for kind in kinds),
        "headers": _references("headers", headers),
        "content": {PROBLEM_MEDIA_TYPE: content},
    }


def _problem_example(kind: type[RagError]) -> dict[str, Any]:
    error = kind.__new__(kind, "")
    RagError.__init__(error, f"{kind.title}: here stands what exactly")
    request_id, traceparent = (str(_HEADER_EXAMPLES[name]) for name in ("X-Request-ID", "traceparent"))
    return problem(error, request_id, trace_id_of(traceparent)).model_dump(mode="json")


def _exemplify(content: dict[str, Any], schemas: Mapping[str, Any]) -> None:
    if "example" not in content:
        content["example"] = _example(content.get("schema", {}), schemas)


def _example(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """What the examples of the fields make together."""
    match schema:
        case {"examples": [example, *_]}:
            return example
        case {"const": value} | {"default": value}:
            return value
        case {"$ref": reference}:
            return _example(schemas[reference.rpartition("/")[2]], schemas)
        case {"properties": fields}:
            return {name: _example(field, schemas) for name, field in fields.items()}
        case {"type": "array", "items": items}:
            return [_example(items, schemas)]
        case _:
            return None


def _header_schema(name: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0} if name == "Retry-After" else {"type": "string"}


def _references(section: str, names: list[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/{section}/{name}"} for name in names}
