"""A form is read as it arrives, in any chunks, and what is wrong with it is an invalid request."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragline.api.forms import MAX_FIELD_BYTES, UploadForm
from ragline.common.errors import InvalidRequest, RequestTimeout
from ragline.common.metadata import Scalar
from tests.support.forms import BOUNDARY, FORM_TYPE, form, form_part

PDF = form_part("file", b"%PDF-1.7 body", file_name="a.pdf")
METADATA = form_part("metadata", b'{"year": 2024}')

File = tuple[str, bytes, dict[str, Scalar]]


class Body:
    """A request's body; notes how much of it was asked for."""

    def __init__(self, data: bytes, *, chunk_bytes: int, then: Exception | None = None) -> None:
        self._chunks = [data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)]
        self._then = then
        self.chunks_read = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            self.chunks_read += 1
            yield chunk
        if self._then is not None:
            raise self._then


async def _read(upload: UploadForm) -> list[File]:
    files = []
    while (file := await upload.next_file()) is not None:
        files.append((file.name, b"".join([part async for part in file.parts]), upload.metadata))
    return files


def _files(data: bytes, *, chunk_bytes: int = 7, max_files: int = 3, kind: str = FORM_TYPE) -> list[File]:
    body = Body(data, chunk_bytes=chunk_bytes)
    return asyncio.run(_read(UploadForm(kind, aiter(body), max_files=max_files)))


bodies = st.binary(max_size=60) | st.lists(
    st.sampled_from([b"\r", b"\n", b"-", b"--", b"\r\n--", BOUNDARY[:3], b"x"]), max_size=20
).map(b"".join)


@given(files=st.lists(bodies, max_size=3), chunk_bytes=st.integers(1, 300), noted=st.booleans())
def test_the_same_files_come_out_however_the_form_comes_in(
    files: list[bytes], chunk_bytes: int, *, noted: bool
) -> None:
    parts = [form_part("file", data, file_name=f"{number}.pdf") for number, data in enumerate(files)]
    metadata = {"year": 2024} if noted else {}

    found = _files(form([METADATA] * noted + parts), chunk_bytes=chunk_bytes)

    assert found == [(f"{number}.pdf", data, metadata) for number, data in enumerate(files)]


@given(data=st.binary(max_size=400), chunk_bytes=st.integers(1, 400))
def test_any_bytes_are_a_form_or_an_invalid_request(data: bytes, chunk_bytes: int) -> None:
    for body in (data, PDF + data, PDF[:60] + data):
        try:
            _files(body, chunk_bytes=chunk_bytes)
        except InvalidRequest:
            continue
        assert body.count(b"--" + BOUNDARY + b"--") == 1


def test_a_form_that_breaks_off_is_refused() -> None:
    whole = form([METADATA, PDF], end=b"--" + BOUNDARY + b"--")
    assert len(_files(whole)) == 1
    for cut in range(len(whole)):
        with pytest.raises(InvalidRequest, match="closing boundary"):
            _files(whole[:cut])


@pytest.mark.parametrize("name", ["Gr\u00fc\u00dfe.pdf", "a b;c=d.pdf", "", 'say \\"hi\\".pdf'])
def test_the_name_of_a_file_is_utf8(name: str) -> None:
    [(found, _, _)] = _files(form([form_part("file", b"x", file_name=name)]))

    assert found == name.replace('\\"', '"')


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "closing boundary"),
        (b"no form at all", "malformed"),
        (form([form_part("note", b"x")]), "name that is not known"),
        (form([form_part("x" * 3000, b"x")]), "name that is not known"),
        (form([METADATA, METADATA, PDF]), "metadata"),
        (form([PDF, METADATA]), "metadata"),
        (form([PDF] * 4), "cannot stand"),
        (form([METADATA, *[PDF] * 4]), "too many parts"),
        (form([form_part("metadata", b"{}")[:-2] + b"x" * 5000 + b"\r\n", PDF]), "JSON object"),
        (form([form_part("metadata", b"{}", headers=b"X: " + b"x" * 5000 + b"\r\n")]), "malformed"),
        (form([form_part("metadata", b"{}", headers=b"X: y\r\n" * 8)]), "malformed"),
        (form([form_part("metadata", b"{}", headers=b"no colon\r\n")]), "malformed"),
        (form([form_part("metadata", b" " * (MAX_FIELD_BYTES + 1)), PDF]), "at most"),
        (form([form_part("file", b"x", file_name="\udcff.pdf")]), "UTF-8"),
        (form([b"--" + BOUNDARY + b"\r\n\r\nx\r\n"]), "Content-Disposition"),
        (form([b"--" + BOUNDARY + b"\r\nContent-Disposition: attachment; name=file\r\n\r\nx\r\n"]), "form-data"),
        (form([b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data\r\n\r\nx\r\n"]), "name"),
        (form([b"--" + BOUNDARY + b"\r\n"] * 5000), "malformed"),
        (form([form_part("file", b"")] * 5000), "cannot stand"),
    ],
    ids=range(19),
)
@pytest.mark.parametrize("most_chunks", [10_000, 100, 1])
def test_a_bad_form_is_refused(body: bytes, says: str, most_chunks: int) -> None:
    with pytest.raises(InvalidRequest, match=says) as raised:
        _files(body, chunk_bytes=1 + len(body) // most_chunks)
    assert len(raised.value.detail) < 200


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=", FORM_TYPE + "x" * 300])
def test_a_form_without_a_usable_boundary_is_refused(kind: str) -> None:
    with pytest.raises(InvalidRequest, match="boundary"):
        _files(form([PDF]), kind=kind)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"a": null}', b'{"a": NaN}', b"\xff", b"[" * 100_000])
def test_bad_metadata_is_pointed_at(text: bytes) -> None:
    with pytest.raises(InvalidRequest) as raised:
        _files(form([form_part("metadata", text), PDF]), chunk_bytes=1000)
    assert [error["pointer"].startswith("/body/metadata") for error in raised.value.errors] == [True]


def test_the_largest_metadata_fits() -> None:
    metadata = {f"k{number}": "\U0001f3f3" * 510 for number in range(8)}
    escaped = (
        orjson.dumps(metadata).decode().encode("ascii", "backslashreplace").replace(b"\\U0001f3f3", b"\\ud83c\\udff3")
    )

    [(_, _, found)] = _files(form([form_part("metadata", escaped), PDF]), chunk_bytes=1000)

    assert found == metadata


def test_metadata_may_come_as_a_file_of_that_name() -> None:
    """As `curl -F metadata=@notes.json` sends it."""
    [(_, _, found)] = _files(form([form_part("metadata", b'{"a": 1}', file_name="notes.json"), PDF]))

    assert found == {"a": 1}


def test_no_more_is_read_than_is_asked_for() -> None:
    data = form([METADATA, form_part("file", b"x" * 100_000, file_name="a.pdf")])
    body = Body(data, chunk_bytes=1000)

    async def read_some() -> list[int]:
        upload = UploadForm(FORM_TYPE, aiter(body), max_files=1)
        file = await upload.next_file()
        assert file is not None
        read = [body.chunks_read]
        await anext(file.parts)
        await anext(file.parts)
        return [*read, body.chunks_read]

    assert asyncio.run(read_some()) == [1, 2]


def test_what_is_left_of_a_file_is_skipped() -> None:
    second = form_part("file", b"second", file_name="b.pdf")
    body = Body(form([form_part("file", b"x" * 1000, file_name="a.pdf"), second]), chunk_bytes=10)

    async def read_second() -> tuple[bytes, bytes]:
        upload = UploadForm(FORM_TYPE, aiter(body), max_files=2)
        first, other = await upload.next_file(), await upload.next_file()
        assert first is not None
        assert other is not None
        # The object store may still hold on to the first one: it must not be given bytes of another.
        late = b"".join([part async for part in first.parts])
        return late, b"".join([part async for part in other.parts])

    assert asyncio.run(read_second()) == (b"", b"second")


def test_a_second_file_is_refused_at_the_end() -> None:
    async def read(parts: Sequence[bytes]) -> None:
        upload = UploadForm(FORM_TYPE, aiter(Body(form(parts), chunk_bytes=10)), max_files=1)
        assert await upload.next_file() is not None
        await upload.end()

    asyncio.run(read([METADATA, PDF]))
    for parts in ([PDF, PDF], [PDF, METADATA], [METADATA, PDF, PDF]):
        with pytest.raises(InvalidRequest):
            asyncio.run(read(parts))


def test_what_broke_the_form_is_told_again() -> None:
    stalled = RequestTimeout("Nothing came")
    upload = UploadForm(FORM_TYPE, aiter(Body(PDF[:-9], chunk_bytes=10, then=stalled)), max_files=1)

    for _ in range(2):
        with pytest.raises(RequestTimeout) as raised:
            asyncio.run(_read(upload))
        assert raised.value is stalled
