"""A form with files, read as it arrives: nothing of a file is kept, in memory or on disk, but the part in passing."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from ragline.common.errors import InvalidRequest, RagError
from ragline.common.metadata import Scalar, check_metadata

__all__ = ["MAX_FIELD_BYTES", "FormFile", "UploadForm", "metadata_from"]

MAX_FIELD_BYTES = 2**18
"""Longest field that is no file: the largest metadata, 4,096 characters, fits in even if all of them are escaped."""

_MAX_HEADERS = 8
_MAX_HEADER_BYTES = 4096
"""Of one part: browsers send two headers, and a document's name has at most 255 bytes."""

_MAX_FIELDS = 1
"""`metadata` is the only one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormFile:
    """A file of a form.

    Attributes
    ----------
    name
        As the client calls it; may be empty.
    parts
        Its bytes, to be read before the form's next file is asked for; what is left then is skipped.
    """

    name: str
    parts: AsyncIterator[bytes]


class UploadForm:
    """``multipart/form-data`` with files named ``file`` and, before them, an optional field ``metadata``.

    Nobody can go back in a stream, so what belongs to a file must come before it.

    Parameters
    ----------
    content_type
        The request's header, which holds the boundary.
    source
        The request's body.
    max_files
        A form with more is refused at the first one too many.

    Attributes
    ----------
    metadata
        For all files that follow.

    Raises
    ------
    InvalidRequest
        The header names no boundary.
    """

    def __init__(self, content_type: str, source: AsyncIterator[bytes], *, max_files: int) -> None:
        self.metadata: dict[str, Scalar] = {}
        self._broken: RagError | None = None
        self._parser = _PartParser(content_type, max_parts=max_files + _MAX_FIELDS)
        self._source = source
        self._max_files = max_files
        self._events: deque[_Event] = deque()
        self._fields: set[str] = set()
        self._files = 0
        self._in_file = False
        # The object store may still wait for a part of a file that it has given up.
        self._reading = asyncio.Lock()

    async def end(self) -> None:
        """Read to the end.

        Raises
        ------
        InvalidRequest
            There is something more, or no end.
        """
        if (part := await self._next_part()) is not None:
            raise self._breaks(
                _unexpected(part, "one `metadata`, then one `file`; several files go to `/documents/batch`")
            )

    async def next_file(self) -> FormFile | None:
        """The next file, or none at the form's end.

        Raises
        ------
        InvalidRequest
            The form is malformed or broken off, or holds what it must not.
        RagError
            What the body itself raises.
        """
        while (part := await self._next_part()) is not None:
            if part.name == "file" and self._files < self._max_files:
                self._files, self._in_file = self._files + 1, True
                return FormFile(name=part.file_name, parts=self._parts(self._files))
            if part.name != "metadata" or self._files or part.name in self._fields:
                raise self._breaks(_unexpected(part, f"one `metadata`, then at most {self._max_files} `file`"))
            self._fields.add(part.name)
            await self._read_metadata()
        return None

    def _breaks(self, error: RagError) -> RagError:
        self._broken = error
        return error

    async def _next(self) -> "_Event | None":
        if self._broken is not None:
            raise self._broken
        try:
            while not self._events:
                self._parser.check()
                chunk = await anext(self._source, None)
                if chunk is None:
                    self._parser.check_complete()
                    return None
                self._events.extend(self._parser.feed(chunk))
        except RagError as error:
            self._breaks(error)
            raise
        return self._events.popleft()

    async def _next_part(self) -> "_Part | None":
        while await self._part_of_file(self._files) is not None:
            pass
        event = await self._next()
        # Between two parts there is nothing else.
        return event if isinstance(event, _Part) else None

    async def _part_of_file(self, number: int) -> bytes | None:
        async with self._reading:
            if not self._in_file or number != self._files:
                return None
            event = await self._next()
            if isinstance(event, bytes):
                return event
            self._in_file = False
            return None

    async def _parts(self, number: int) -> AsyncIterator[bytes]:
        while (part := await self._part_of_file(number)) is not None:
            yield part

    async def _read_metadata(self) -> None:
        text = bytearray()
        while isinstance(event := await self._next(), bytes):
            text += event
            if len(text) > MAX_FIELD_BYTES:
                raise self._breaks(InvalidRequest(f"A field of a form has at most {MAX_FIELD_BYTES} bytes"))
        try:
            self.metadata = metadata_from(bytes(text))
        except InvalidRequest as error:
            self._breaks(error)
            raise


def metadata_from(text: bytes | str, *, at: str = "/body/metadata") -> dict[str, Scalar]:
    """Metadata that was sent as JSON text.

    Raises
    ------
    InvalidRequest
        It is no JSON, or none that metadata can be.
    """
    try:
        decoded = orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
        detail = "The metadata is a JSON object"
        raise InvalidRequest(f"{at}: {detail}", [{"pointer": at, "detail": detail}]) from error
    return check_metadata(decoded, at=at)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    name: str
    file_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _PartEnd:
    pass


_Event = _Part | bytes | _PartEnd
"""A part begins, has these bytes, ends."""


class _PartParser:
    """Chunks of a body in, events out."""

    def __init__(self, content_type: str, *, max_parts: int) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise InvalidRequest("The Content-Type of a form names its boundary")
        self._events: list[_Event] = []
        self._complete = False
        self._failure: InvalidRequest | None = None
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = b"", b""
        self._parts_left = max_parts + 1
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_part_data": self._data,
                    "on_part_end": self._end_part,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_end": self._end,
                },
                max_header_count=_MAX_HEADERS,
                max_header_size=_MAX_HEADER_BYTES,
            )
        except FormParserError as error:
            raise InvalidRequest("The boundary of the form is too long") from error

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def check_complete(self) -> None:
        if not self._complete:
            raise InvalidRequest("The form ends before its closing boundary")

    def feed(self, chunk: bytes) -> list[_Event]:
        """What is in the chunk; a failure is told by `check` when the events before it have been taken."""
        try:
            self._parser.write(chunk)
        except FormParserError:
            self._failure = InvalidRequest("The form is malformed")
        except InvalidRequest as error:
            self._failure = error
        events, self._events = self._events, []
        return events

    def _begin_part(self) -> None:
        # A chunk of nothing but boundaries would otherwise become thousands of events.
        self._parts_left -= 1
        if not self._parts_left:
            raise InvalidRequest("The form has too many parts")
        self._headers = {}

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])

    def _end(self) -> None:
        self._complete = True

    def _end_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def _end_headers(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        if kind != b"form-data" or b"name" not in options:
            raise InvalidRequest("A part of a form has `Content-Disposition: form-data` and a name")
        try:
            name, file_name = options[b"name"].decode(), options.get(b"filename", b"").decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest("Names in a form are UTF-8") from error
        self._events.append(_Part(name=name, file_name=file_name))

    def _end_part(self) -> None:
        self._events.append(_PartEnd())

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]


def _unexpected(part: _Part, allowed: str) -> InvalidRequest:
    # No name of the client's own in the reply: it may be of any length.
    known = part.name in {"file", "metadata"}
    what = f"a part `{part.name}` cannot stand where it does" if known else "a part has a name that is not known"
    detail = f"In the form {what}: {allowed}"
    return InvalidRequest(
        detail, [{"pointer": "/body/metadata" if part.name == "metadata" else "/body", "detail": detail}]
    )
