"""The throw-away process that reads one PDF for `pdf.PdfConverter`.

A parser of hostile files may crash, loop or eat memory, so it works alone and under limits. Its only argument is a
`Request` as JSON; it answers on stdout with frames, one JSON object a line: ``{"pages"}``, then ``{"number", "text"}``
for each page, and at the end either ``{"cpu_seconds"}`` or ``{"error", "detail"}``. It imports the chosen engine and
the standard library only, because every document pays for its start.
"""

import ctypes
import json
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

__all__ = ["OUT_OF_MEMORY", "Request", "Unreadable", "clean", "main", "read"]

OUT_OF_MEMORY = "out_of_memory"
"""Code of the error frame of an engine that met the memory limit; the other codes are those of `common.errors`."""

_PR_SET_PDEATHSIG = 1
"""From ``linux/prctl.h``: the signal a process gets when its parent dies."""

_ODD_LINE_BREAKS = re.compile("[\x0b-\r]")

_JUNK = re.compile("[\x00-\x08\x0e-\x1f\x7f\ufffe]")
"""Control characters, and PDFium's mark for a hyphen at the end of a line (U+FFFE, or U+0002 in text within a box):
without it the two parts of the word are one again."""

_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufffe]")


class Request(NamedTuple):
    """What the parent asks for.

    Attributes
    ----------
    engine
        ``pdfium`` or ``pypdf``.
    first_page
        Number of the first page wanted, 1 for the first.
    max_text_bytes
        Most text of the wanted pages, UTF-8 bytes.
    memory_bytes
        Limit of the address space, bytes.
    cpu_seconds
        Limit of the CPU time, start-up included, seconds.
    parent_pid
        Who asks; without it there is nobody to read for.
    """

    engine: str
    path: str
    first_page: int
    max_pages: int
    max_text_bytes: int
    memory_bytes: int
    cpu_seconds: int
    parent_pid: int


class Unreadable(Exception):
    """A known problem of the document.

    Parameters
    ----------
    code
        The ``error`` of the last frame.
    detail
        What happened, without any text of the document.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class _TextLimitReached(BaseException):
    """Not an `Exception`, because pypdf swallows those while it reads a form."""


_PageReader = Callable[[int, int], str]
"""Index of a page (from 0) and the text it may yield at most (characters, CR and LF both counted) to its text."""


def clean(text: str) -> str:
    """Text of an engine as the rest of the product expects it.

    Returns
    -------
    str
        Lines end with LF; no control characters but LF and TAB; words that PDFium marked as hyphenated are joined;
        a surrogate pair is one character, and lone surrogates are gone.
    """
    text = text.replace("\r\n", "\n")
    if _UNWANTED.search(text):  # one look is enough for most pages
        text = _JUNK.sub("", _ODD_LINE_BREAKS.sub("\n", text))
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
    return text


def read(request: Request) -> Iterator[dict[str, object]]:
    """Read the wanted pages.

    Yields
    ------
    dict
        The frame with the number of pages, then one frame for each page.

    Raises
    ------
    Unreadable
        With code ``encrypted``, ``malformed_pdf``, ``too_many_pages``, ``too_large`` or ``out_of_memory``.
    """
    page_count, read_page = _guarded(lambda: _ENGINES[request.engine](request.path))
    if page_count > request.max_pages:
        raise Unreadable("too_many_pages", f"{page_count} pages, at most {request.max_pages} are read")
    yield {"pages": page_count}
    left_bytes = request.max_text_bytes
    for number in range(request.first_page, page_count + 1):
        try:
            text = _guarded(lambda: clean(read_page(number - 1, 2 * left_bytes)))  # noqa: B023 - called at once
            left_bytes -= len(text.encode())
        except _TextLimitReached:
            left_bytes = -1
        if left_bytes < 0:
            raise Unreadable("too_large", f"more text than is read of one document, at page {number}")
        yield {"number": number, "text": text}


def main() -> NoReturn:
    """Read what the first argument asks for, write the frames and end the process."""
    request = Request(**json.loads(sys.argv[1]))
    _confine(request)
    try:
        for frame in read(request):
            _write(frame)
        _write({"cpu_seconds": time.process_time()})
    except Unreadable as problem:
        _write({"error": problem.code, "detail": problem.detail})
    os._exit(0)  # tearing down the parser's objects would take longer than reading a short document


def _confine(request: Request) -> None:
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, request.cpu_seconds, request.cpu_seconds + 1)
    if sys.platform == "linux":  # elsewhere the CPU and wall-clock limits have to do
        _limit(resource.RLIMIT_AS, request.memory_bytes)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != request.parent_pid:  # it died before the line above
        os._exit(1)


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    """Lower a limit of this process; one that is lower already stays, since only root may raise it."""
    hard = soft if hard is None else hard
    _, ceiling = resource.getrlimit(kind)
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(kind, (soft, hard))


def _guarded(work: Callable[[], Any]) -> Any:  # noqa: ANN401 - hands on whatever the work returns
    """Do a piece of an engine's work and turn whatever goes wrong in it into `Unreadable`."""
    try:
        return work()
    except Unreadable:
        raise
    except MemoryError:
        raise Unreadable(OUT_OF_MEMORY, "out of memory") from None
    except Exception as error:  # noqa: BLE001 - pypdf raises bare builtins on bad files; a message may quote the document
        raise Unreadable("malformed_pdf", type(error).__name__) from None


def _open_pdfium(path: str) -> tuple[int, _PageReader]:
    # Without pypdfium2's helper classes, whose import takes as long as reading 15 pages.
    import pypdfium2_raw as pdfium  # type: ignore[import-untyped] # noqa: PLC0415 - only the engine in use is loaded

    pdfium.FPDF_InitLibraryWithConfig(pdfium.FPDF_LIBRARY_CONFIG(version=2))
    document = pdfium.FPDF_LoadDocument(os.fsencode(path), None)
    if not document:
        reason = pdfium.FPDF_GetLastError()
        if reason in {pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY}:
            raise Unreadable("encrypted", "the document needs a password or a key")
        raise Unreadable("malformed_pdf", f"no PDF (reason {reason})")

    def read_page(index: int, max_chars: int) -> str:
        page = pdfium.FPDF_LoadPage(document, index)
        text_page = page and pdfium.FPDFText_LoadPage(page)
        if not text_page:
            raise Unreadable("malformed_pdf", "page not loaded")
        if pdfium.FPDFText_CountChars(text_page) > max_chars:
            raise _TextLimitReached
        box = pdfium.FS_RECTF()
        pdfium.FPDF_GetPageBoundingBox(page, box)
        # Not FPDFText_GetText: that loses characters beyond U+FFFF, and shows what lies outside the page.
        area = (text_page, box.left, box.top, box.right, box.bottom)
        buffer = (ctypes.c_ushort * pdfium.FPDFText_GetBoundedText(*area, None, 0))()
        pdfium.FPDFText_GetBoundedText(*area, buffer, len(buffer))
        pdfium.FPDFText_ClosePage(text_page)
        pdfium.FPDF_ClosePage(page)
        return bytes(buffer).decode("utf-16-le", "ignore")

    return pdfium.FPDF_GetPageCount(document), read_page


def _open_pypdf(path: str) -> tuple[int, _PageReader]:
    import logging  # noqa: PLC0415 - pypdf's import pays for it

    import pypdf  # noqa: PLC0415 - only the engine in use is loaded

    logging.disable()  # warnings may quote the document
    reader = pypdf.PdfReader(path)
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("encrypted", "the document needs a password")

    def read_page(index: int, max_chars: int) -> str:
        seen_chars = 0

        def count(text: str, *_: object) -> None:
            nonlocal seen_chars
            seen_chars += len(text)
            if seen_chars > max_chars:
                raise _TextLimitReached

        return reader.pages[index].extract_text(visitor_text=count)

    return len(reader.pages), read_page


_ENGINES: dict[str, Callable[[str], tuple[int, _PageReader]]] = {"pdfium": _open_pdfium, "pypdf": _open_pypdf}


def _write(frame: dict[str, object]) -> None:
    sys.stdout.buffer.write(json.dumps(frame, ensure_ascii=False).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
