"""The table of all errors: a new leaf needs a row, and a changed one is seen in review."""

import pickle
from collections.abc import Iterator
from datetime import timedelta
from http import HTTPStatus

import pytest

from ragline.common import errors
from ragline.common.errors import (
    DependencyError,
    InternalError,
    InvalidRequest,
    ProtocolError,
    RagError,
    RejectedError,
    TransientError,
    error_class,
    rebuild_error,
)
from ragline.common.models import JobState

FAILED, CANCELLED = JobState.FAILED, JobState.CANCELLED

TABLE: dict[str, tuple[str, int, JobState | None, bool, bool]] = {
    # name: code, HTTP status, state of a job that ends by it (None: it ends no job), retryable, alert
    "AttemptsExhausted": ("attempts_exhausted", 503, FAILED, True, True),
    "BacklogFull": ("backlog_full", 429, None, True, False),
    "BudgetExhausted": ("budget_exhausted", 429, None, True, False),
    "Cancelled": ("cancelled", 409, CANCELLED, False, False),
    "Conflict": ("conflict", 409, None, False, False),
    "DivisionByZero": ("division_by_zero", 422, FAILED, False, False),
    "EmbeddingSpaceMismatch": ("embedding_space_mismatch", 409, FAILED, False, False),
    "EmptyUpload": ("empty_upload", 422, None, False, False),
    "Encrypted": ("encrypted", 422, FAILED, False, False),
    "Forbidden": ("forbidden", 403, None, False, False),
    "GenerationNotReached": ("generation_not_reached", 409, None, True, False),
    "IdempotencyKeyReused": ("idempotency_key_reused", 422, None, False, False),
    "InternalError": ("internal_error", 500, FAILED, False, True),
    "InvalidRequest": ("invalid_request", 422, None, False, False),
    "MalformedPdf": ("malformed_pdf", 422, FAILED, False, False),
    "MethodNotAllowed": ("method_not_allowed", 405, None, False, False),
    "NoText": ("no_text", 422, FAILED, False, False),
    "NotFound": ("not_found", 404, FAILED, False, False),
    "Overloaded": ("overloaded", 503, None, True, True),
    "ParserCrashed": ("parser_crashed", 422, FAILED, False, False),
    "ParserTimeout": ("parser_timeout", 422, FAILED, False, False),
    "ProtocolError": ("dependency_protocol", 502, FAILED, False, True),
    "Quarantined": ("quarantined", 500, FAILED, False, True),
    "RateLimited": ("rate_limited", 429, None, True, False),
    "RejectedError": ("dependency_rejected", 502, FAILED, False, True),
    "RequestTimeout": ("request_timeout", 408, None, False, False),
    "Superseded": ("superseded", 409, CANCELLED, False, False),
    "TooLarge": ("too_large", 413, FAILED, False, False),
    "TooManyPages": ("too_many_pages", 422, FAILED, False, False),
    "TooManyStreams": ("too_many_streams", 429, None, True, False),
    "TransientError": ("dependency_unavailable", 503, None, True, False),
    "Unauthorized": ("unauthorized", 401, None, False, False),
    "UnsupportedMediaType": ("unsupported_media_type", 415, FAILED, False, False),
}


def _leaves(parent: type[RagError] = RagError) -> Iterator[type[RagError]]:
    for child in parent.__subclasses__():
        if child.__subclasses__():
            yield from _leaves(child)
        elif child.__module__ == errors.__name__:
            yield child


LEAVES = sorted(_leaves(), key=lambda leaf: leaf.__name__)


def _made(leaf: type[RagError]) -> RagError:
    return leaf("chroma", "add", "refused") if issubclass(leaf, DependencyError) else leaf("what happened")


def test_every_leaf_has_a_row() -> None:
    assert [leaf.__name__ for leaf in LEAVES] == sorted(TABLE)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_leaf_is_as_its_row_says(leaf: type[RagError]) -> None:
    code, status, _, retryable, alert = TABLE[leaf.__name__]
    assert (leaf.code, leaf.status, leaf.retryable, leaf.alert) == (code, status, retryable, alert)
    assert HTTPStatus(leaf.status)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_ends_of_jobs_agree_with_the_kind_of_error(leaf: type[RagError]) -> None:
    """Only what somebody asked for cancels a job; a transient error is tried again instead of ending one."""
    state = TABLE[leaf.__name__][2]
    assert (state is CANCELLED) == (leaf in {errors.Cancelled, errors.Superseded})
    if issubclass(leaf, errors.DocumentError | errors.RejectedError | errors.ProtocolError):
        assert state is FAILED
    if leaf is TransientError:
        assert state is None


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_title_is_a_sentence_of_its_own(leaf: type[RagError]) -> None:
    assert "title" in vars(leaf) or leaf is InternalError
    assert leaf.title[0].isupper()
    assert not leaf.title.endswith(".")


def test_codes_are_unique() -> None:
    codes = [leaf.code for leaf in LEAVES]
    assert len(codes) == len(set(codes))


def test_client_errors_are_4xx_and_never_alert() -> None:
    found = [leaf for leaf in LEAVES if issubclass(leaf, errors.ClientError)]
    assert found
    assert all(400 <= leaf.status < 500 and not leaf.alert and not leaf.retryable for leaf in found)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_rebuilt_from_its_code_and_detail(leaf: type[RagError]) -> None:
    original = _made(leaf)
    rebuilt = rebuild_error(original.code, original.detail)
    assert type(rebuilt) is leaf
    assert (rebuilt.code, rebuilt.detail, str(rebuilt)) == (original.code, original.detail, original.detail)
    assert {"error_code": leaf.code, "error_detail": original.detail}.items() <= rebuilt.to_log().items()


def test_rebuilt_error_has_all_attributes() -> None:
    transient, invalid = rebuild_error("dependency_unavailable", "x"), rebuild_error("invalid_request", "x")
    assert isinstance(transient, TransientError)
    assert (transient.retry_after, transient.service, transient.operation) == (None, "", "")
    assert isinstance(invalid, InvalidRequest)
    assert list(invalid.errors) == []


@pytest.mark.parametrize("code", ["", "code_of_a_newer_release"])
def test_unknown_code_is_an_internal_error(code: str) -> None:
    assert error_class(code) is InternalError
    assert rebuild_error(code, "detail").detail == "detail"


def test_dependency_errors_name_service_and_operation() -> None:
    for leaf in (TransientError, RejectedError, ProtocolError):
        error = leaf("chroma", "add", "status 500")
        assert error.to_log() == {
            "error_code": leaf.code,
            "error_detail": "chroma add: status 500",
            "service": "chroma",
            "operation": "add",
        }


@pytest.mark.parametrize("leaf", [TransientError, RejectedError, ProtocolError])
def test_a_servers_own_words_are_for_the_log_alone(leaf: type[DependencyError]) -> None:
    error = leaf("redis", "read job", "ResponseError", reason="WRONGTYPE of a key")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - made in the line before
    for each in (error, copy):
        assert each.to_log()["reason"] == "WRONGTYPE of a key"
        assert each.detail == str(each) == "redis read job: ResponseError"


def test_transient_error_remembers_how_long_to_wait() -> None:
    assert TransientError("openai", "embed", "429", timedelta(seconds=7)).retry_after == timedelta(seconds=7)


def test_invalid_request_names_fields() -> None:
    problems = [{"pointer": "/question", "detail": "too long"}]
    assert InvalidRequest("not valid", problems).errors == problems


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_error_survives_pickling(leaf: type[RagError]) -> None:
    """A worker's pool passes what a task raised between its processes."""
    original = _made(leaf)
    copy = pickle.loads(pickle.dumps(original))  # noqa: S301 - made in the line before
    assert type(copy) is leaf
    assert (copy.detail, copy.to_log()) == (original.detail, original.to_log())


def test_module_lists_all_leaves() -> None:
    assert {leaf.__name__ for leaf in LEAVES} <= set(errors.__all__)
    assert all(leaf.__name__ in str(errors.__doc__) for leaf in LEAVES)
