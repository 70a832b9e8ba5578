"""What schemathesis cannot know of the service: PDFs, what no schema can say, and what every error looks like."""

import atexit
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, Response
from schemathesis.checks import CheckContext
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.specs.openapi.checks import positive_data_acceptance, use_after_free

from ragline.api.error_pages import PAGES
from ragline.api.problems import PROBLEM_MEDIA_TYPE
from tests.support import pdfs

__all__ = ["TALLY"]

TALLY = "FUZZ_TALLY"
"""Environment variable: the file that gets the number of answers by operation and status."""

_CODES = {kind.code for kind in PAGES}

_UNSAYABLE_CODES = {
    "budget_exhausted",
    "division_by_zero",  # that a number is not 0, though -0.0 and 0e5 are: two schemas would have to be merged
    "idempotency_key_reused",  # depends on earlier requests
}
_UNSAYABLE = {
    "/body",  # of a chat: the last of the messages is the user's
    "/body/dimensions",  # how many the model in use has
    "/body/filter",  # operators that go with the types of their operands
    "/body/max_tokens",  # a bound that an operator sets
    "/body/metadata",  # JSON within a string
    "/body/model",  # a list that an operator sets
    "/body/file",  # the name of the file is no part of any schema
    "/query/cursor",  # made by the service, opaque to others
    "/query/metadata",  # JSON within a string, and only beside raw bytes
    "/query/name",  # needed beside raw bytes, not beside a form
}
"""Fields whose values JSON Schema cannot tell right from wrong; their errors name them."""

_tally: Counter[str] = Counter()

_DOCUMENTS = [pdfs.text_pdf(["Parental leave is 16 weeks."]), pdfs.text_pdf(["Breaks are paid.", "Lunch is not."])]

_RAW = ("application/pdf", "application/octet-stream")

for _media_type in _RAW:
    schemathesis.openapi.media_type(_media_type, st.sampled_from(_DOCUMENTS))


@schemathesis.hook
def before_load_schema(_context: object, document: dict[str, Any]) -> None:
    """A media type with a strategy may have no examples: they would be text, and it is bytes."""
    for item in document["paths"].values():
        for operation in item.values():
            for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
                if media_type in _RAW:
                    content["schema"] = {key: value for key, value in content["schema"].items() if key != "examples"}
                    del content["example"]


@schemathesis.check
def errors_are_problems(_ctx: CheckContext, response: Response, _case: "Case[Any]") -> None:
    """Every error is a problem with a code of ours, and tells when to come back if that helps."""
    if response.status_code < 400:
        return
    [media_type] = response.headers.get("content-type", [""])
    assert media_type == PROBLEM_MEDIA_TYPE, media_type
    problem = response.json()
    assert problem["code"] in _CODES, problem
    assert (problem["status"], problem["type"]) == (response.status_code, f"/errors/{problem['code']}")
    assert problem["retryable"] == ("retry-after" in response.headers)


@schemathesis.check
def valid_data_is_accepted(ctx: CheckContext, response: Response, case: "Case[Any]") -> None:
    """`positive_data_acceptance`, which takes every schema for the whole truth."""
    try:
        positive_data_acceptance(ctx, response, case)
    except RejectedPositiveData:
        problem = response.json()
        pointers = {"/".join(error["pointer"].split("/")[:3]) for error in problem["errors"]}
        if problem["code"] not in _UNSAYABLE_CODES and not (pointers and pointers <= _UNSAYABLE):
            raise


@schemathesis.check
def what_is_deleted_is_gone(ctx: CheckContext, response: Response, case: "Case[Any]") -> None:
    """`use_after_free`, but for jobs: their DELETE cancels them, and their record stays to say so."""
    if not case.path.startswith("/v1/jobs/"):
        use_after_free(ctx, response, case)


@schemathesis.hook
def after_call(_context: object, case: "Case[Any]", response: Response) -> None:
    _tally[f"{case.operation.label} {response.status_code}"] += 1


@atexit.register
def _write_tally() -> None:
    if path := os.environ.get(TALLY):
        Path(path).write_text(json.dumps(_tally), encoding="utf-8")
