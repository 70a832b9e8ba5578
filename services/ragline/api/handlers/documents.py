"""Documents: upload, look at, delete."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Path, Query, Request, Response
from pydantic import Field, TypeAdapter

from ragline.api.batches import BatchOutcome, BatchSubmission
from ragline.api.dependencies import Context, IdempotencyKey, Ingester, Reader, Start, Trace
from ragline.api.examples import ACCEPTED, METADATA, PDF
from ragline.api.forms import FormFile, UploadForm, metadata_from
from ragline.api.media_types import media_type_of
from ragline.api.paging import Cursor, Limit, decode_cursor, next_page
from ragline.api.problems import problem
from ragline.api.replies import accepted, document_reply, submission_reply
from ragline.api.routes import PlannedRouter
from ragline.api.schemas import BatchReply, BatchResult, DocumentList, DocumentReply, SubmissionReply
from ragline.api.submissions import Upload
from ragline.common.errors import InvalidRequest, NotFound, RagError, UnsupportedMediaType
from ragline.common.identifiers import COLLECTION_NAME, check_collection_name, check_document_name
from ragline.common.logging import note_job
from ragline.common.queues import JobKind
from ragline.common.trace_context import TraceContext
from ragline.stores.ledger.accepting import NewJob

__all__ = ["router"]

router = PlannedRouter(prefix="/v1", tags=["documents"])

_Place = TypeAdapter(tuple[Annotated[int, Field(ge=0, lt=2**53)], str])
"""Creation time and id of the last document of a page."""

# The pattern is for the OpenAPI file: `check_collection_name` says in words what it asks for.
_NewCollection = Annotated[
    str, Path(json_schema_extra={"pattern": f"^{COLLECTION_NAME}$"}, description="Made when it is not there yet")
]

_MAX_BATCH_FILES = 1000
"""Each costs a step of the ledger: a request of this many stays under a minute on a slow disk."""

_FILE = {"type": "string", "contentMediaType": "application/pdf", "examples": [PDF]}
_METADATA = {
    "type": "string",
    "contentMediaType": "application/json",
    "description": "A JSON object; comes before the file",
    "examples": [METADATA],
}


def _form_body(files: dict[str, Any]) -> dict[str, Any]:
    fields = {"metadata": _METADATA, "file": files}
    schema = {"type": "object", "required": ["file"], "properties": fields, "additionalProperties": False}
    # Browsers name the file's type; ours is found in its bytes.
    return {"multipart/form-data": {"schema": schema, "encoding": {"file": {"contentType": "application/pdf"}}}}


_UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            **_form_body(_FILE),
            "application/pdf": {"schema": _FILE},
            "application/octet-stream": {"schema": _FILE},
        },
    }
}
_BATCH_BODY = {
    "requestBody": {
        "required": True,
        "content": _form_body({"type": "array", "items": _FILE, "minItems": 1, "maxItems": _MAX_BATCH_FILES}),
    }
}


@router.post(
    "/collections/{name}/documents",
    status_code=202,
    responses=ACCEPTED,
    summary="Upload a PDF",
    description="A form with one `file` and, before it, an optional `metadata`; or the raw bytes with `?name=` and "
    "`?metadata=`. The same name again is a new version.",
    openapi_extra=_UPLOAD_BODY,
)
async def upload_document(
    *,
    name: _NewCollection,
    request: Request,
    response: Response,
    context: Context,
    tenant: Ingester,
    trace: Trace,
    idempotency_key: IdempotencyKey = None,
    document_name: Annotated[
        str | None,
        Query(alias="name", description="Name of the document, for raw bytes", examples=["employee-handbook.pdf"]),
    ] = None,
    metadata: Annotated[str | None, Query(description="A JSON object, for raw bytes", examples=[METADATA])] = None,
) -> SubmissionReply:
    # Before a byte of the body is read.
    check_collection_name(name)
    upload = replace(await _uploaded(request, name, document_name, metadata), idempotency_key=idempotency_key)
    submission = await context.documents.submit(upload, tenant=tenant, trace=trace)
    note_job(submission.job_id, submission.document_id)
    return accepted(response, submission)


@router.post(
    "/collections/{name}/documents/batch",
    status_code=202,
    summary="Upload many PDFs",
    description="A form with `file`s and, before them, an optional `metadata` for all. Each file is a document and a "
    "job of its own; one that is refused does not hold up the others. A file that is there already is found unchanged, "
    "so the whole form may be sent again.",
    openapi_extra=_BATCH_BODY,
)
async def upload_documents(
    *,
    name: _NewCollection,
    request: Request,
    context: Context,
    tenant: Ingester,
    trace: Trace,
    idempotency_key: IdempotencyKey = None,
) -> BatchReply:
    check_collection_name(name)
    if media_type_of(request) != "multipart/form-data":
        raise UnsupportedMediaType("Send PDFs as multipart/form-data")
    batch = BatchSubmission(
        documents=context.documents, collection=name, tenant=tenant, trace=trace, idempotency_key=idempotency_key
    )
    outcomes = await batch.submit(_form(request, max_files=_MAX_BATCH_FILES))
    return BatchReply(results=[_batch_result(outcome, trace) for outcome in outcomes])


@router.get("/collections/{name}/documents", summary="Documents of a collection, oldest first")
async def list_documents(
    name: str,
    context: Context,
    tenant: Reader,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> DocumentList:
    await context.ledger.collection(tenant, name)
    after = decode_cursor(cursor, _Place) if cursor else (0, "")
    records = await context.ledger.documents(tenant, name, after=after, limit=limit + 1)
    page = records[:limit]
    place = [page[-1].created_at, page[-1].id] if page else []
    following = next_page(f"/v1/collections/{name}/documents", records, limit=limit, place=place)
    return DocumentList(documents=[document_reply(record) for record in page], next=following)


@router.get("/documents/{document_id}", summary="Where a document is, why it waits, what happens next")
async def get_document(document_id: str, context: Context, tenant: Reader) -> DocumentReply:
    record = await context.ledger.document(tenant, document_id)
    try:
        job = await context.ledger.job(tenant, record.job_id)
    except NotFound:
        job = None
    return document_reply(record, job=job)


@router.delete("/documents/{document_id}", status_code=202, responses=ACCEPTED, summary="Delete a document")
async def delete_document(document_id: str, response: Response, tenant: Ingester, start: Start) -> SubmissionReply:
    new = NewJob(tenant=tenant, kind=JobKind.DELETE, params={}, document_id=document_id)
    return accepted(response, await start(new))


def _batch_result(done: BatchOutcome, trace: TraceContext) -> BatchResult:
    if isinstance(done.outcome, RagError):
        return BatchResult(name=done.name, problem=problem(done.outcome, *trace.ids))
    return BatchResult(name=done.name, submission=submission_reply(done.outcome))


def _form(request: Request, *, max_files: int) -> UploadForm:
    return UploadForm(request.headers["content-type"], request.stream(), max_files=max_files)


async def _only_file(form: UploadForm, file: FormFile) -> AsyncIterator[bytes]:
    async for part in file.parts:
        yield part
    # Within the upload, so that a form which ends badly leaves nothing in the object store.
    await form.end()


def _named(name: str, *, at: str) -> str:
    try:
        return check_document_name(name)
    except InvalidRequest as error:
        raise InvalidRequest(error.detail, [{"pointer": at, "detail": error.detail}]) from error


async def _uploaded(request: Request, collection: str, name: str | None, metadata: str | None) -> Upload:
    match media_type_of(request):
        case "application/pdf" | "application/octet-stream":
            noted = metadata_from(metadata, at="/query/metadata") if metadata is not None else {}
            label, source = _named(name or "", at="/query/name"), request.stream()
            return Upload(collection=collection, name=label, source=source, metadata=noted)
        case "multipart/form-data":
            if metadata is not None:
                detail = "The metadata of a form is a part of it, before the file"
                raise InvalidRequest(detail, [{"pointer": "/query/metadata", "detail": detail}])
            form = _form(request, max_files=1)
            file = await form.next_file()
            if file is None:
                raise InvalidRequest("The form needs one part `file` that is a file")
            label = _named(name, at="/query/name") if name else _named(file.name, at="/body/file")
            return Upload(collection=collection, name=label, source=_only_file(form, file), metadata=form.metadata)
        case _:
            raise UnsupportedMediaType("Send a PDF as multipart/form-data or application/pdf")
