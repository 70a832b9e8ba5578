"""A change of the API that breaks clients is found; needs oasdiff, as `make lint-openapi` provides it."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from docs.openapi import DOCUMENT, breaking

pytestmark = pytest.mark.openapi

Document = dict[str, Any]
QUERIES, UPLOADS = "/v1/collections/{name}/queries", "/v1/collections/{name}/documents"


def _without_operation(document: Document) -> None:
    del document["paths"]["/v1/jobs/{job_id}"]["delete"]


def _with_a_new_demand(document: Document) -> None:
    document["components"]["schemas"]["QueryRequest"]["required"].append("top_k")


def _without_a_field_of_a_reply(document: Document) -> None:
    schema = document["components"]["schemas"]["AnswerReply"]
    del schema["properties"]["citations"]
    schema["required"].remove("citations")


def _with_a_tighter_bound(document: Document) -> None:
    document["components"]["schemas"]["QueryRequest"]["properties"]["question"]["maxLength"] = 10


def _with_a_demanded_parameter(document: Document) -> None:
    parameters = document["paths"][UPLOADS]["post"]["parameters"]
    next(parameter for parameter in parameters if parameter["name"] == "Idempotency-Key")["required"] = True


def _without_a_media_type(document: Document) -> None:
    del document["paths"][UPLOADS]["post"]["requestBody"]["content"]["application/pdf"]


def _without_the_answer_at_once(document: Document) -> None:
    del document["paths"][QUERIES]["post"]["responses"]["202"]


def _with_a_new_operation(document: Document) -> None:
    described = deepcopy(document["paths"]["/v1/collections"]["get"])
    document["paths"]["/v2/collections"] = {"get": {**described, "operationId": "list_collections_v2"}}


def _with_a_new_wish(document: Document) -> None:
    document["components"]["schemas"]["QueryRequest"]["properties"]["style"] = {"type": "string"}


def _compared(change: Callable[[Document], None], folder: Path) -> str:
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    change(document)
    revision = folder / "openapi.json"
    revision.write_text(json.dumps(document), encoding="utf-8")
    return breaking(DOCUMENT, revision)


@pytest.mark.parametrize(
    "change",
    [
        _without_operation,
        _with_a_new_demand,
        _without_a_field_of_a_reply,
        _with_a_tighter_bound,
        _with_a_demanded_parameter,
        _without_a_media_type,
        _without_the_answer_at_once,
    ],
)
def test_what_breaks_clients_is_found(change: Callable[[Document], None], tmp_path: Path) -> None:
    assert "docs/openapi.json" in (told := _compared(change, tmp_path)) or "error" in told, told
    assert told


@pytest.mark.parametrize("change", [lambda _: None, _with_a_new_operation, _with_a_new_wish])
def test_what_breaks_nobody_passes(change: Callable[[Document], None], tmp_path: Path) -> None:
    assert _compared(change, tmp_path) == ""
