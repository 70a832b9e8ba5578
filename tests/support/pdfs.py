"""Builders for test PDFs: ordinary, odd and hostile ones, each returned as bytes.

The hostile files are written object by object, since no PDF library would agree to make them. They are small on disk
and expensive to read; open them only in a child process whose memory and CPU time are limited.
"""

import io
import random
import textwrap
import zlib
from collections.abc import Sequence
from functools import cache

from pypdf import PdfReader, PdfWriter

__all__ = [
    "encrypted_pdf",
    "fanout_bomb_pdf",
    "flate_bomb_pdf",
    "header_only_pdf",
    "image_only_pdf",
    "long_string_pdf",
    "long_text_pdf",
    "not_a_pdf",
    "operator_bomb_pdf",
    "owner_locked_pdf",
    "page_tree_loop_pdf",
    "text_pdf",
    "truncated_pdf",
    "whitespace_pdf",
    "zero_page_pdf",
]

LINE_CHARS = 92
"""Length at which a line of text is wrapped, in characters: it fits on A4 in the font size used here."""

LINES_PER_PAGE = 66
"""Most lines that fit on one page."""

LONG_PAGE_CHARS = 2700
"""Text on a page of `long_text_pdf`, in characters: a densely printed A4 page."""

FANOUT_DEPTH = 22
"""Levels of the form bomb; each doubles the work, so that the last one is drawn 2^22 (4.2 million) times."""

OPERATOR_BOMB_PAGES = 3000
"""Pages which share the stream of the operator bomb."""

OPERATORS_PER_PAGE = 20_000
"""Text operators in that stream: low enough for limits per stream, ruinous once for each page."""

LONG_STRING_BYTES = 70_000_000
"""Length of the single text string of `long_string_pdf`, in bytes."""

FLATE_BOMB_BYTES = 300_000_000
"""Size of the content stream of `flate_bomb_pdf` once it is inflated, in bytes."""

DEFLATE_CHUNK_BYTES = 1_000_000
"""Piece in which a huge stream is compressed, in bytes, so that the builder itself needs little memory."""

OWNER_PASSWORD = "owner"
"""Password which lifts the restrictions of the encrypted files."""

FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"

VOCABULARY = (
    "ample amber anchor autumn barrel basin bridge brisk calm canyon carries chalk clear cliff clover copper "
    "crosses dawn distant drifts early ember fallow feather fern follows forest gentle glacier granite harbour "
    "hazel heather hidden hollow island ivory keeps lantern ledger linen marble meadow measures mellow mirror morning "
    "narrow olive orchard passes pebble pine plain quarry quiet reaches reed ridge river saffron sandy shelter "
    "silver slate spring stone summer thistle timber turns valley velvet violet walnut water western willow winter"
)
"""Words of `long_text_pdf`, separated by blanks."""


class RawPdf:
    """A PDF put together object by object, without any check that it makes sense."""

    def __init__(self) -> None:
        self._bodies: list[bytes] = []

    def add(self, body: bytes) -> int:
        """Append an object and return its number."""
        self._bodies.append(body)
        return len(self._bodies)

    def add_flate_stream(self, entries: bytes, compressed: bytes) -> int:
        """Append a stream that is compressed already and return its number."""
        return self.add_stream(entries + b" /Filter /FlateDecode", compressed)

    def add_stream(self, entries: bytes, data: bytes) -> int:
        """Append a stream with the given dictionary entries and return its number."""
        return self.add(b"<< %s /Length %d >>\nstream\n%s\nendstream" % (entries, len(data), data))

    def finish(self, page_numbers: Sequence[int], pages_number: int) -> bytes:
        """Append the page tree, as the object the pages already name as parent, and the catalog; write the file."""
        kids = b" ".join(b"%d 0 R" % number for number in page_numbers)
        tree_number = self.add(b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(page_numbers)))
        if tree_number != pages_number:
            raise ValueError(f"the page tree is object {tree_number}, but its pages call it {pages_number}")
        return self.to_bytes(self.add(b"<< /Type /Catalog /Pages %d 0 R >>" % tree_number))

    def to_bytes(self, root_number: int) -> bytes:
        """Write header, objects, cross-reference table and trailer."""
        out = io.BytesIO()
        out.write(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
        offsets = []
        for number, body in enumerate(self._bodies, 1):
            offsets.append(out.tell())
            out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
        table_offset = out.tell()
        size = len(self._bodies) + 1
        out.write(b"xref\n0 %d\n0000000000 65535 f \n" % size)
        out.write(b"".join(b"%010d 00000 n \n" % offset for offset in offsets))
        out.write(b"trailer\n<< /Size %d /Root %d 0 R >>\n" % (size, root_number))
        out.write(b"startxref\n%d\n%%%%EOF\n" % table_offset)
        return out.getvalue()


def text_pdf(pages: Sequence[str]) -> bytes:
    """Make a PDF with one page for each text, wrapped at 92 characters; characters have to exist in Windows-1252."""
    pdf = RawPdf()
    font_number = pdf.add(FONT)
    pages_number = 2 + 2 * len(pages)
    page_numbers = []
    for text in pages:
        content_number = pdf.add_stream(b"", _text_operators(text))
        page_numbers.append(pdf.add(_page(pages_number, content_number, b"/Font << /F1 %d 0 R >>" % font_number)))
    return pdf.finish(page_numbers, pages_number)


def long_text_pdf(page_count: int, seed: int, *, marker: str = "") -> bytes:
    """Make a PDF of pages of the marker and about 2700 characters of pseudo-English, equal for equal seeds."""
    words = random.Random(seed)  # noqa: S311 - test data, not a secret
    return text_pdf([f"{marker} {_pseudo_english(words)}".lstrip() for _ in range(page_count)])


def encrypted_pdf(user_password: str) -> bytes:
    """Make a one-page PDF which can be read only with the given password (AES-256)."""
    return _encrypted("This page is a secret between the two of us.", user_password)


def owner_locked_pdf() -> bytes:
    """Make a one-page PDF with an empty user password: encrypted (AES-256), yet readable by everyone."""
    return _encrypted("Everyone may read this page, but only the owner may change it.", "")


def image_only_pdf() -> bytes:
    """Make a one-page PDF which shows a picture and has no text, like a scan."""
    side_pixels = 64
    pixels = bytes((x * y) % 256 for y in range(side_pixels) for x in range(side_pixels))
    pdf = RawPdf()
    image_number = pdf.add_flate_stream(
        b"/Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 8"
        % (side_pixels, side_pixels),
        zlib.compress(pixels),
    )
    content_number = pdf.add_stream(b"", b"q 400 0 0 400 90 220 cm /Im1 Do Q")
    page_number = pdf.add(_page(4, content_number, b"/XObject << /Im1 %d 0 R >>" % image_number))
    return pdf.finish([page_number], 4)


def whitespace_pdf() -> bytes:
    """Make a two-page PDF whose text consists of spaces only."""
    return _pdf_with_content([b"BT /F1 10 Tf 60 780 Td (%s) Tj ET" % (b" " * 200)] * 2)


def zero_page_pdf() -> bytes:
    """Make a well-formed PDF with an empty page tree."""
    return RawPdf().finish([], 1)


def truncated_pdf() -> bytes:
    """Make a PDF that lost its second half, and with it the page tree, as after a broken download."""
    whole = text_pdf([f"Page {number} of a file that never arrived completely." for number in range(1, 11)])
    return whole[: len(whole) // 2]


def header_only_pdf() -> bytes:
    """Make a file which starts like a PDF and goes on with meaningless bytes."""
    return b"%PDF-1.7\n" + bytes(position * position % 251 for position in range(4096))


def not_a_pdf() -> bytes:
    """Make an empty zip archive followed by plain text, which no part of a PDF reader should accept."""
    return b"PK\x05\x06" + bytes(18) + b"Dear reader, this is a letter and not a PDF.\n" * 20


def page_tree_loop_pdf() -> bytes:
    """Make a PDF whose page tree has itself as its only child."""
    pdf = RawPdf()
    tree_number = pdf.add(b"<< /Type /Pages /Kids [1 0 R] /Count 1 /Parent 1 0 R >>")
    return pdf.to_bytes(pdf.add(b"<< /Type /Catalog /Pages %d 0 R >>" % tree_number))


@cache
def fanout_bomb_pdf() -> bytes:
    """Make a PDF of 4 KB whose forms draw each other twice, 22 levels deep; PDFium aborts when memory is limited."""
    pdf = RawPdf()
    form_entries = b"/Type /XObject /Subtype /Form /BBox [0 0 595 842]"
    form_number = pdf.add_stream(form_entries, b"0 0 1 1 re f")
    for _ in range(FANOUT_DEPTH):
        resources = b" /Resources << /XObject << /N %d 0 R >> >>" % form_number
        form_number = pdf.add_stream(form_entries + resources, b"/N Do /N Do")
    content_number = pdf.add_stream(b"", b"/N Do")
    pages_number = content_number + 2
    page_number = pdf.add(_page(pages_number, content_number, b"/XObject << /N %d 0 R >>" % form_number))
    return pdf.finish([page_number], pages_number)


@cache
def operator_bomb_pdf() -> bytes:
    """Make a PDF whose 3000 pages share a stream of 20 000 text operators: each page is allowed, all are too many."""
    pdf = RawPdf()
    font_number = pdf.add(FONT)
    operators = b"BT /F1 1 Tf %s ET" % (b"1 0 Td (a) Tj " * (OPERATORS_PER_PAGE // 2))
    content_number = pdf.add_flate_stream(b"", zlib.compress(operators, 9))
    pages_number = content_number + OPERATOR_BOMB_PAGES + 1
    page = _page(pages_number, content_number, b"/Font << /F1 %d 0 R >>" % font_number)
    page_numbers = [pdf.add(page) for _ in range(OPERATOR_BOMB_PAGES)]
    return pdf.finish(page_numbers, pages_number)


@cache
def long_string_pdf() -> bytes:
    """Make a PDF of 70 KB with one text string of 70 MB, which pypdf hands over as 70 million characters."""
    return _pdf_with_flate_content(_deflate(b"BT /F1 10 Tf 60 780 Td (", b"a", LONG_STRING_BYTES, b") Tj ET"))


@cache
def flate_bomb_pdf() -> bytes:
    """Make a PDF of 300 KB whose content stream inflates to 300 MB of blanks."""
    return _pdf_with_flate_content(_deflate(b"", b" ", FLATE_BOMB_BYTES, b"BT /F1 10 Tf 60 780 Td (end) Tj ET"))


def _page(pages_number: int, content_number: int, resources: bytes) -> bytes:
    return b"<< /Type /Page /Parent %d 0 R /MediaBox [0 0 595 842] /Contents %d 0 R /Resources << %s >> >>" % (
        pages_number,
        content_number,
        resources,
    )


def _pdf_with_content(contents: Sequence[bytes]) -> bytes:
    """Make a page for each content stream; the font is called F1."""
    pdf = RawPdf()
    font_number = pdf.add(FONT)
    pages_number = 2 + 2 * len(contents)
    page_numbers = []
    for content in contents:
        content_number = pdf.add_stream(b"", content)
        page_numbers.append(pdf.add(_page(pages_number, content_number, b"/Font << /F1 %d 0 R >>" % font_number)))
    return pdf.finish(page_numbers, pages_number)


def _pdf_with_flate_content(compressed: bytes) -> bytes:
    """Make a page from a content stream that is compressed already; the font is called F1."""
    pdf = RawPdf()
    font_number = pdf.add(FONT)
    content_number = pdf.add_flate_stream(b"", compressed)
    page_number = pdf.add(_page(4, content_number, b"/Font << /F1 %d 0 R >>" % font_number))
    return pdf.finish([page_number], 4)


def _text_operators(text: str) -> bytes:
    """Show a text line by line, keeping its own line breaks.

    Raises
    ------
    ValueError
        If the text needs more lines than fit on a page, or has a character that Windows-1252 lacks.

    """
    lines = [line for paragraph in text.splitlines() for line in textwrap.wrap(paragraph, LINE_CHARS) or [""]]
    if len(lines) > LINES_PER_PAGE:
        raise ValueError(f"{len(lines)} lines do not fit on a page of {LINES_PER_PAGE}")
    escaped = (line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)") for line in lines)
    shown = b" ".join(b"(%s) Tj T*" % line.encode("cp1252") for line in escaped)
    return b"BT /F1 10 Tf 11.5 TL 60 800 Td %s ET" % shown


def _pseudo_english(words: random.Random) -> str:
    """Join random words to sentences until a page is full."""
    vocabulary = VOCABULARY.split()
    sentences: list[str] = []
    length_chars = 0
    while length_chars < LONG_PAGE_CHARS:
        sentence = " ".join(words.choices(vocabulary, k=words.randint(6, 16))).capitalize() + "."
        sentences.append(sentence)
        length_chars += len(sentence) + 1
    return " ".join(sentences)


def _encrypted(text: str, user_password: str) -> bytes:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(text_pdf([text]))))
    writer.encrypt(user_password=user_password, owner_password=OWNER_PASSWORD, algorithm="AES-256")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _deflate(head: bytes, unit: bytes, unit_count: int, tail: bytes) -> bytes:
    """Compress `head`, `unit` repeated `unit_count` times and `tail` without holding them in memory at once."""
    compressor = zlib.compressobj(9)
    chunks, rest = divmod(unit_count, DEFLATE_CHUNK_BYTES)
    parts = [compressor.compress(head)]
    parts += [compressor.compress(unit * DEFLATE_CHUNK_BYTES) for _ in range(chunks)]
    parts += [compressor.compress(unit * rest + tail), compressor.flush()]
    return b"".join(parts)
