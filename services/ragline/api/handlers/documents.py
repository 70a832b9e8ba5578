"""Documents: upload, look at, delete."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, TypeAdapter
from starlette.datastructures import UploadFile

from ragline.api.dependencies import Context, Ingester, Reader, Trace
from ragline.api.paging import Cursor, Limit, decode_cursor, next_page
from ragline.api.replies import document_reply, submission_reply
from ragline.api.schemas import DocumentList, DocumentReply, SubmissionReply
from ragline.api.submissions import file_parts
from ragline.common.errors import InvalidRequest, NotFound, UnsupportedMediaType
from ragline.common.identifiers import check_collection_name
from ragline.common.queues import JobKind
from ragline.stores.ledger.accepting import NewJob

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["documents"])

_POLL_AGAIN_SECONDS = "1"
_Place = TypeAdapter(tuple[Annotated[int, Field(ge=0, lt=2**53)], str])
"""Creation time and id of the last document of a page."""

_UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "contentMediaType": "application/pdf"}},
                }
            },
            "application/pdf": {"schema": {"type": "string", "contentMediaType": "application/pdf"}},
        },
    }
}


@router.post(
    "/collections/{name}/documents",
    status_code=202,
    summary="Upload a PDF",
    description="A form with one `file`, or the raw bytes with `?name=`. The same name again is a new version.",
    openapi_extra=_UPLOAD_BODY,
)
async def upload_document(
    *,
    name: str,
    request: Request,
    response: Response,
    context: Context,
    tenant: Ingester,
    trace: Trace,
    document_name: Annotated[str | None, Query(alias="name", description="Name of the document, for raw bytes")] = None,
) -> SubmissionReply:
    # Before a byte of the body is read.
    check_collection_name(name)
    try:
        label, source = await _uploaded(request, document_name)
        submission = await context.documents.submit(
            tenant=tenant, collection=name, name=label, source=source, trace=trace
        )
    finally:
        # A form holds a temporary file.
        await request.close()
    reply = submission_reply(submission)
    response.headers["Location"] = reply.links["job"]
    response.headers["Retry-After"] = _POLL_AGAIN_SECONDS
    return reply


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


@router.delete("/documents/{document_id}", status_code=202, summary="Delete a document")
async def delete_document(
    document_id: str, response: Response, context: Context, tenant: Ingester, trace: Trace
) -> SubmissionReply:
    new = NewJob(tenant=tenant, kind=JobKind.DELETE, params={}, document_id=document_id)
    reply = submission_reply(await context.ledger.accept_job(new, trace))
    response.headers["Location"] = reply.links["job"]
    return reply


async def _uploaded(request: Request, document_name: str | None) -> tuple[str, AsyncIterator[bytes]]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    match kind:
        case "application/pdf" | "application/octet-stream":
            if not document_name:
                raise InvalidRequest("Raw bytes need a name: ?name=handbook.pdf")
            return document_name, request.stream()
        case "multipart/form-data":
            form = await request.form(max_files=1, max_fields=10)
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise InvalidRequest("The form needs one part `file` that is a file")
            return document_name or file.filename or "", file_parts(file.read)
        case _:
            raise UnsupportedMediaType("Send a PDF as multipart/form-data or application/pdf")
