"""What an error code means, for those who meet it: the text of ``GET /errors/{code}`` and of ``docs/errors.md``."""

from collections.abc import Mapping
from dataclasses import dataclass

from ragline.common.errors import (
    AttemptsExhausted,
    BacklogFull,
    BudgetExhausted,
    Cancelled,
    Conflict,
    DivisionByZero,
    EmbeddingSpaceMismatch,
    EmptyUpload,
    Encrypted,
    Forbidden,
    GenerationNotReached,
    IdempotencyKeyReused,
    InternalError,
    InvalidRequest,
    MalformedPdf,
    MethodNotAllowed,
    NoText,
    NotFound,
    Overloaded,
    ParserCrashed,
    ParserTimeout,
    ProtocolError,
    Quarantined,
    RagError,
    RateLimited,
    RejectedError,
    RequestTimeout,
    Superseded,
    TooLarge,
    TooManyPages,
    TooManyStreams,
    TransientError,
    Unauthorized,
    UnsupportedMediaType,
)

__all__ = ["PAGES", "ErrorPage", "all_pages", "page_of"]

_INTRODUCTION = """# Errors

Every error is a problem (RFC 9457, `application/problem+json`). Its `code` is stable: programs go by it, never by
`title` or `detail`. `retryable` says whether the same request may pass later, and `Retry-After` when; `request_id` is
what an operator searches the logs for, `trace_id` what the traces go by. `type` is the address of the section below,
which the service itself serves as `GET /errors/{code}`. A job that failed keeps the same code in `error.code`.

`make openapi` writes this page.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPage:
    """What to know about one code.

    Attributes
    ----------
    when
        What brings it about.
    caller
        What the one who got it does.
    operator
        Where the one who runs the service looks.
    """

    when: str
    caller: str
    operator: str


PAGES: Mapping[type[RagError], ErrorPage] = {
    AttemptsExhausted: ErrorPage(
        when="A step of a job failed as often as it may: a part of the service stayed away, or a defect of the service "
        "repeated itself.",
        caller="Send the work again later: upload the document, or ask the question, once more.",
        operator="The job's worker logs the reason of every attempt under its `trace_id`: `dependency_unavailable` "
        "names the part to mend, `step failed by a defect` has the traceback.",
    ),
    BacklogFull: ErrorPage(
        when="As many jobs of your tenant wait on one queue as may.",
        caller="Send no more until some are done; `Retry-After` is computed from how fast they are being done.",
        operator="`MAX_BACKLOG_PER_TENANT` is the bound. `GET /tasks/info` shows what waits and who works.",
    ),
    BudgetExhausted: ErrorPage(
        when="Your tenant has used the tokens of the chat model that it may use in a day (UTC).",
        caller="Ask again after midnight UTC, which is when `Retry-After` ends, or ask the operator for more.",
        operator="`TENANT_TOKENS_PER_DAY` is the budget.",
    ),
    Cancelled: ErrorPage(
        when="Somebody cancelled the job, or nobody waited for its answer any more.",
        caller="Nothing, if that was you. Else send the work again: a new request is a new job.",
        operator="Nothing: the log's lines of the job's `trace_id` name the request that cancelled it.",
    ),
    Conflict: ErrorPage(
        when="What is asked for does not fit the state of things: a deletion cannot be cancelled, a collection that is "
        "being deleted takes no document, and no upload leads to the generation that a question names.",
        caller="Read `detail`; wait for the job that is in the way, then send the request again.",
        operator="Nothing, unless such a job does not end: then look at the queue `vectorstore`.",
    ),
    DivisionByZero: ErrorPage(
        when="A calculation of `/tasks` was asked to divide by zero.",
        caller="Send another divisor.",
        operator="Nothing.",
    ),
    EmbeddingSpaceMismatch: ErrorPage(
        when="The collection was embedded with another model than the one the service uses now.",
        caller="Use another collection, or delete this one and upload its documents again.",
        operator="`EMBEDDER` or `EMBEDDING_MODEL` was changed: change it back, or have the collections made anew.",
    ),
    EmptyUpload: ErrorPage(
        when="The upload holds no bytes.",
        caller="Look whether the file is empty, or was read before it was sent.",
        operator="Nothing, unless a proxy drops bodies.",
    ),
    Encrypted: ErrorPage(
        when="The document cannot be read without a password.",
        caller="Save it without a password and upload that.",
        operator="Nothing.",
    ),
    Forbidden: ErrorPage(
        when="The key is valid but lacks the scope that `detail` names; or a web page of an origin that is not "
        "allowed sent the request.",
        caller="Use a key with that scope.",
        operator="`ragline keys list` shows scopes. `CORS_ORIGINS` lists the origins of web pages.",
    ),
    GenerationNotReached: ErrorPage(
        when="`min_generation` names a state of the collection that was not there within 30 seconds.",
        caller="Ask again: the upload is still being worked on, as its job says.",
        operator="If it takes long, `GET /tasks/info` shows which queue waits and for whom.",
    ),
    IdempotencyKeyReused: ErrorPage(
        when="The `Idempotency-Key` was sent within the last 24 hours with another request.",
        caller="Make a new key for every new request; only a repetition of the same request keeps its key.",
        operator="Nothing.",
    ),
    InternalError: ErrorPage(
        when="A defect of the service.",
        caller="Report it with the `request_id`; another try will most likely end the same way.",
        operator="Search the log for the `request_id`: the line `request failed by a defect` has the traceback.",
    ),
    InvalidRequest: ErrorPage(
        when="The request is malformed. `errors` names each wrong field by JSON pointer, such as `/body/top_k`. What "
        "is no HTTP has the status 400, and a head of more than 64 KB the status 431.",
        caller="Mend the fields; the OpenAPI file says what each of them may be.",
        operator="Nothing. Many 400s may be a proxy that speaks another protocol.",
    ),
    MalformedPdf: ErrorPage(
        when="Two parsers could not read the file as a PDF.",
        caller="Open it in a viewer and save or print it as a new PDF, and upload that.",
        operator="Nothing, unless well-known files fail: try `PDF_ENGINE`.",
    ),
    MethodNotAllowed: ErrorPage(
        when="There is such an address, and it does not take that method.",
        caller="Use one of the methods in the header `Allow`.",
        operator="Nothing.",
    ),
    NoText: ErrorPage(
        when="No page of the document holds text. It may be a scan.",
        caller="Run text recognition (OCR) over it and upload the result.",
        operator="Nothing.",
    ),
    NotFound: ErrorPage(
        when="There is no such document, job, collection, task, file or address; what belongs to another tenant "
        "looks the same. Jobs are forgotten some days after their end.",
        caller="Check the id, and that the key is of the tenant that owns it.",
        operator="`ragline keys list` shows which tenant a key is of.",
    ),
    Overloaded: ErrorPage(
        when="As many jobs of all tenants wait on one queue as may.",
        caller="Try again after `Retry-After`.",
        operator="Add workers for the queue, or find out why they are slow. `MAX_BACKLOG` is the bound.",
    ),
    ParserCrashed: ErrorPage(
        when="Every parser crashed on the document, in a process of its own: nothing else is harmed.",
        caller="Open it in a viewer and save or print it as a new PDF, and upload that.",
        operator="The worker of the queue `document` logs the signal. `PARSER_MEMORY_BYTES` bounds the memory.",
    ),
    ParserTimeout: ErrorPage(
        when="Reading the document took more CPU time than it may.",
        caller="Split the document, or save it as a simpler PDF.",
        operator="`PARSER_CPU_SECONDS` is the bound.",
    ),
    ProtocolError: ErrorPage(
        when="A model or store gave an answer that makes no sense, or lost what it had.",
        caller="Report it with the `request_id`.",
        operator="The log names the part and what it answered. A proxy in between, or another version, is the usual "
        "cause; `POST /v1/collections/{name}/verifications` compares a collection with what should be in it.",
    ),
    Quarantined: ErrorPage(
        when="Workers died while they worked on the document, so it was set aside.",
        caller="Upload it in another form, such as a new PDF printed from it; report it if that fails too.",
        operator="Look for `OOMKilled` workers of the job's queue, and for the document in their last lines.",
    ),
    RateLimited: ErrorPage(
        when="The key, or the address without one, has sent more requests in a minute than it may.",
        caller="Wait for `Retry-After`. `RateLimit` on every answer says how many requests are left.",
        operator="`RATE_LIMIT_GENERAL_PER_MINUTE` and `RATE_LIMIT_RAG_PER_MINUTE`, or the key's own limits.",
    ),
    RejectedError: ErrorPage(
        when="A model or store refused what the service asked of it.",
        caller="Report it with the `request_id`; another try will end the same way.",
        operator="The log has the other side's words: most often a key that ended, or a model that is not there.",
    ),
    RequestTimeout: ErrorPage(
        when="The request stopped coming, or came too slowly.",
        caller="Send it again over a better connection; large uploads go on while bytes keep coming.",
        operator="Nothing, unless many clients see it: then look at the proxy in front.",
    ),
    Superseded: ErrorPage(
        when="A newer upload of the same name took the place of this one before it was done.",
        caller="Follow the job of the newer upload.",
        operator="Nothing.",
    ),
    TooLarge: ErrorPage(
        when="The body, or the text of the document, is over a size limit; `detail` names it.",
        caller="Send less: split the document, or the batch.",
        operator="`MAX_UPLOAD_BYTES` and `MAX_TEXT_BYTES` are the bounds; a proxy in front may have one of its own.",
    ),
    TooManyPages: ErrorPage(
        when="The document has more pages than it may.",
        caller="Split it and upload the parts.",
        operator="`MAX_PAGES` is the bound.",
    ),
    TooManyStreams: ErrorPage(
        when="As many event streams of the tenant, or of all, are open as may.",
        caller="Close one, or poll the job: `GET /v1/jobs/{job_id}?wait=20`.",
        operator="`MAX_STREAMS` and `MAX_STREAMS_PER_TENANT` are the bounds of one API process.",
    ),
    TransientError: ErrorPage(
        when="A part of the service is away, or gave no answer in time.",
        caller="Try again after `Retry-After`, with the same `Idempotency-Key` if one was sent.",
        operator="`detail` names the part; `GET /readyz` says what is missing.",
    ),
    Unauthorized: ErrorPage(
        when="No key was sent, or one that is unknown, revoked or past its end.",
        caller="Send a valid key as `X-API-Key` or `Authorization: Bearer`.",
        operator="`ragline keys list` shows which keys are valid and how each begins.",
    ),
    UnsupportedMediaType: ErrorPage(
        when="The `Content-Type` is not one the address takes, or an upload is no PDF.",
        caller="Send JSON as `application/json`, and PDFs as `multipart/form-data` or `application/pdf`.",
        operator="Nothing.",
    ),
}


def all_pages() -> str:
    """The text of ``docs/errors.md``."""
    return "\n".join([_INTRODUCTION, *(page_of(kind) for kind in sorted(PAGES, key=lambda kind: kind.code))])


def page_of(kind: type[RagError]) -> str:
    """One section, as Markdown."""
    page = PAGES[kind]
    again = (
        "The same request may succeed later as it is."
        if kind.retryable
        else "The same request will not succeed without a change."
    )
    return f"""## {kind.code}

{kind.title}. HTTP status {kind.status}. {again}

* **When:** {page.when}
* **What to do:** {page.caller}
* **Operators:** {page.operator}
"""
