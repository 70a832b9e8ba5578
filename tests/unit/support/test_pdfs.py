"""Each builder of test PDFs makes what it says, as seen by both parsers; hostile files are read by limited children."""

import io
import json
import re
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pypdfium2 as pdfium
import pytest
from pypdf import PdfReader
from pypdf.errors import FileNotDecryptedError, PyPdfError

from tests.support import pdfs

ADDRESS_SPACE_BYTES = 1 << 30
"""Memory of a child, in bytes: 1 GiB, as much as the service grants to its parsers."""

CPU_SECONDS = 5
"""CPU time of a child, in seconds, unless a test asks for another limit."""

CRASH_SIGNALS = {-signal.SIGABRT, -signal.SIGILL, -signal.SIGTRAP}
"""Exit codes of a PDFium that ran out of memory; which one depends on the processor it was built for."""

CHILD_SCRIPT = """
import json, logging, resource, sys
address_space_bytes, cpu_seconds, parser, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes, address_space_bytes))
resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
logging.disable(logging.CRITICAL)
lengths, error = [], None
try:
    if parser == "pypdf":
        import pypdf
        lengths = [len(page.extract_text()) for page in pypdf.PdfReader(path).pages]
    else:
        import pypdfium2
        for page in pypdfium2.PdfDocument(path):
            text_page = page.get_textpage()
            lengths.append(len(text_page.get_text_range()))
            text_page.close()
            page.close()
except Exception as caught:
    error = type(caught).__name__
print(json.dumps({"page_count": len(lengths), "text_chars": sum(lengths), "error": error}))
"""
"""Reads a file under limits and prints a `Reading`."""


class Parser(StrEnum):
    """The two libraries that read PDFs in the service."""

    PDFIUM = "pdfium"
    PYPDF = "pypdf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a child made of a file; after a negative exit code, the signal that killed it, nothing else is known."""

    exit_code: int
    page_count: int = 0
    text_chars: int = 0
    error: str | None = None


ReadInChild = Callable[..., Reading]


@pytest.fixture
def read_in_child(tmp_path: Path) -> ReadInChild:
    """Function which reads a PDF in a child process with limited memory and CPU time."""

    def read(content: bytes, parser: Parser, *, cpu_seconds: int = CPU_SECONDS) -> Reading:
        path = tmp_path / "hostile.pdf"
        path.write_bytes(content)
        command = [sys.executable, "-c", CHILD_SCRIPT, str(ADDRESS_SPACE_BYTES), str(cpu_seconds), parser, str(path)]
        child = subprocess.run(command, check=False, capture_output=True, text=True)
        return Reading(exit_code=child.returncode, **(json.loads(child.stdout) if child.returncode == 0 else {}))

    return read


def _pypdf_texts(content: bytes) -> list[str]:
    return [page.extract_text() for page in PdfReader(io.BytesIO(content)).pages]


def _pdfium_texts(content: bytes, password: str | None = None) -> list[str]:
    with closing(pdfium.PdfDocument(content, password=password)) as document:
        return [page.get_textpage().get_text_range() for page in document]


def _flate_stream(content: bytes) -> bytes:
    """Return the only compressed stream of a file, inflated."""
    (compressed,) = re.findall(rb"/FlateDecode /Length \d+ >>\nstream\n(.*)\nendstream", content, re.DOTALL)
    return zlib.decompress(compressed)


@pytest.mark.parametrize("texts_of", [_pypdf_texts, _pdfium_texts])
def test_text_pdf_holds_its_texts(texts_of: Callable[[bytes], list[str]]) -> None:
    pages = ["The fee (in May) was £5, paid by cheque \\ card.", "First line.\nSecond line.", "word " * 200]
    texts = texts_of(pdfs.text_pdf(pages))
    assert [text.split() for text in texts] == [page.split() for page in pages]
    assert len(texts[2].splitlines()) > len(texts[2]) // pdfs.LINE_CHARS


def test_text_pdf_handles_hundreds_of_pages() -> None:
    assert len(_pdfium_texts(pdfs.text_pdf([f"This is page {number}." for number in range(1, 501)]))) == 500


@pytest.mark.parametrize(
    "text", ["\n" * (pdfs.LINES_PER_PAGE + 1), "\N{SNOWMAN}"], ids=["too long", "unknown character"]
)
def test_text_pdf_refuses_what_it_cannot_show(text: str) -> None:
    with pytest.raises(ValueError, match=r"do not fit|can't encode"):
        pdfs.text_pdf([text])


def test_long_text_pdf_fills_its_pages() -> None:
    texts = _pdfium_texts(pdfs.long_text_pdf(20, 1))
    assert len(set(texts)) == 20
    assert all(2600 < len(text) < 2900 for text in texts)


def test_long_text_pdf_depends_on_its_seed_only() -> None:
    assert pdfs.long_text_pdf(2, 1) == pdfs.long_text_pdf(2, 1)
    assert pdfs.long_text_pdf(2, 1) != pdfs.long_text_pdf(2, 2)


def test_encrypted_pdf_needs_its_password() -> None:
    content = pdfs.encrypted_pdf("tulip")
    with pytest.raises(FileNotDecryptedError):
        _pypdf_texts(content)
    with pytest.raises(pdfium.PdfiumError, match="password"):
        _pdfium_texts(content)
    assert "secret" in _pdfium_texts(content, "tulip")[0]


@pytest.mark.parametrize("texts_of", [_pypdf_texts, _pdfium_texts])
def test_owner_locked_pdf_is_readable(texts_of: Callable[[bytes], list[str]]) -> None:
    content = pdfs.owner_locked_pdf()
    assert PdfReader(io.BytesIO(content)).is_encrypted
    assert "Everyone may read this page" in texts_of(content)[0]


@pytest.mark.parametrize("texts_of", [_pypdf_texts, _pdfium_texts])
@pytest.mark.parametrize(("build", "page_count"), [(pdfs.image_only_pdf, 1), (pdfs.whitespace_pdf, 2)])
def test_pages_without_words(
    texts_of: Callable[[bytes], list[str]], build: Callable[[], bytes], page_count: int
) -> None:
    assert [text.strip() for text in texts_of(build())] == [""] * page_count


def test_image_only_pdf_shows_an_image() -> None:
    (page,) = PdfReader(io.BytesIO(pdfs.image_only_pdf())).pages
    assert len(page.images) == 1


def test_zero_page_pdf_has_no_pages() -> None:
    content = pdfs.zero_page_pdf()
    assert _pypdf_texts(content) == []
    with pytest.raises(pdfium.PdfiumError):
        _pdfium_texts(content)


@pytest.mark.parametrize("build", [pdfs.truncated_pdf, pdfs.header_only_pdf, pdfs.not_a_pdf])
def test_broken_files_are_refused(build: Callable[[], bytes]) -> None:
    with pytest.raises(PyPdfError):
        _pypdf_texts(build())
    with pytest.raises(pdfium.PdfiumError, match="Data format error"):
        _pdfium_texts(build())


def test_broken_files_differ_in_how_they_begin() -> None:
    assert pdfs.truncated_pdf().startswith(b"%PDF-")
    assert pdfs.header_only_pdf().startswith(b"%PDF-1.7\n")
    assert b"%PDF-" not in pdfs.not_a_pdf()


@pytest.mark.parametrize(("parser", "error"), [(Parser.PYPDF, "PdfReadError"), (Parser.PDFIUM, "PdfiumError")])
def test_page_tree_loop_is_noticed(read_in_child: ReadInChild, parser: Parser, error: str) -> None:
    assert read_in_child(pdfs.page_tree_loop_pdf(), parser).error == error


@pytest.mark.slow
def test_fanout_bomb_kills_pdfium_only(read_in_child: ReadInChild) -> None:
    content = pdfs.fanout_bomb_pdf()
    assert len(content) < 5_000
    assert read_in_child(content, Parser.PDFIUM, cpu_seconds=20).exit_code in CRASH_SIGNALS
    assert read_in_child(content, Parser.PYPDF) == Reading(exit_code=0, page_count=1)


@pytest.mark.slow
@pytest.mark.parametrize("parser", Parser)
def test_operator_bomb_uses_up_the_cpu_time(read_in_child: ReadInChild, parser: Parser) -> None:
    """Two seconds show it as well as five do: the whole file would take PDFium half a minute, pypdf ten."""
    content = pdfs.operator_bomb_pdf()
    assert len(content) < 500_000
    assert read_in_child(content, parser, cpu_seconds=2).exit_code == -signal.SIGXCPU


@pytest.mark.slow
def test_long_string_is_cheap_for_pdfium_only(read_in_child: ReadInChild) -> None:
    """Whether pypdf gets through in time depends on the machine; if it does, it returns the whole string."""
    content = pdfs.long_string_pdf()
    assert len(content) < 100_000
    assert len(_flate_stream(content)) > pdfs.LONG_STRING_BYTES
    assert read_in_child(content, Parser.PDFIUM).error is None
    by_pypdf = read_in_child(content, Parser.PYPDF, cpu_seconds=2)
    assert by_pypdf.exit_code == -signal.SIGXCPU or by_pypdf.text_chars == pdfs.LONG_STRING_BYTES


@pytest.mark.slow
def test_flate_bomb_is_refused_by_pypdf_and_inflated_by_pdfium(read_in_child: ReadInChild) -> None:
    content = pdfs.flate_bomb_pdf()
    assert len(content) < 400_000
    assert read_in_child(content, Parser.PYPDF).error == "LimitReachedError"
    assert read_in_child(content, Parser.PDFIUM).page_count == 1
