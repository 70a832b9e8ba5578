"""Lay out the sample PDFs from the text files in `content/`.

Run `python samples/generate.py` after changing a text; the PDFs and the text are committed together. The output does
not depend on the day or the machine: ReportLab's invariant mode fixes dates and file ids, pages are not compressed
(zlib builds differ), and only the standard fonts are used.
"""

import argparse
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from xml.sax.saxutils import escape

from reportlab.lib.colors import Color, HexColor
from reportlab.lib.pagesizes import A4, A5
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    KeepTogether,
    NextPageTemplate,
    PageBreak,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)
from reportlab.platypus.tableofcontents import TableOfContents

__all__ = ["Block", "BlockKind", "Document", "generate", "main", "parse"]

SAMPLES_DIR = Path(__file__).resolve().parent
CONTENT_DIR = SAMPLES_DIR / "content"

MARGIN_POINTS = 51.0
"""White space on all four sides of a page, in points (1/72 inch): 18 mm, which suits A5 as well as A4."""

LINE_HEIGHT_FACTOR = 1.34
"""Distance of two lines, in font sizes."""

SECTION_MINIMUM_POINTS = 90.0
"""Space which must be left on a page for a section to begin there, in points: its heading and some lines."""

COVER_BAND_SHARE = 0.38
"""Share of the cover height, in [0, 1], that is filled with colour."""

CELL_SPARE_CHARS = 4
"""Width added to the longest word of a table column, in characters, because bold heads and cell padding need room."""

CELL_MAX_CHARS = 42
"""Widest table column, in characters: longer texts wrap instead of squeezing their neighbours."""

INK = HexColor("#1f2933")
ACCENT = HexColor("#1b5e6b")
PALE = HexColor("#e8f0f1")
RULE = HexColor("#b5c4c7")
WHITE = HexColor("#ffffff")

CONTENTS_STYLE = TableStyle([(f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("TOP", "RIGHT", "BOTTOM", "LEFT")])
"""Tight rows, so that the 71 headings of the handbook fit on two pages."""


class BlockKind(StrEnum):
    """What a block of text is in the layout."""

    BULLETS = "bullets"
    CHAPTER = "chapter"
    NOTE = "note"
    NUMBERED = "numbered"
    PARAGRAPH = "paragraph"
    SECTION = "section"
    TABLE = "table"


KIND_BY_MARK = {
    "#": BlockKind.CHAPTER,
    "##": BlockKind.SECTION,
    "-": BlockKind.BULLETS,
    "1.": BlockKind.NUMBERED,
    ">": BlockKind.NOTE,
    "|": BlockKind.TABLE,
}
"""First word of a block in a text file, for every kind but the paragraph."""

HEADING_LEVELS = {BlockKind.CHAPTER: 0, BlockKind.SECTION: 1}
"""Depth of a heading in the outline of the PDF."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One heading, paragraph, list or table; `lines` holds list items and table rows, or one line of text."""

    kind: BlockKind
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed text file: the `name: value` lines at its top and the blocks after them."""

    fields: dict[str, str]
    blocks: tuple[Block, ...]

    @property
    def page_size_points(self) -> tuple[float, float]:
        """Width and height of a page, in points."""
        size_points: tuple[float, float] = A5 if self.fields["paper"] == "A5" else A4
        return size_points

    @property
    def breaks_at_sections(self) -> bool:
        """Whether every section starts a new page, as in a handbook with one topic per page."""
        return self.fields["section-page-break"] == "yes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Styles:
    """Paragraph styles of one document."""

    body: ParagraphStyle
    cell: ParagraphStyle
    chapter: ParagraphStyle
    contents: tuple[ParagraphStyle, ParagraphStyle]
    head_cell: ParagraphStyle
    item: ParagraphStyle
    note: ParagraphStyle
    section: ParagraphStyle


class SampleTemplate(BaseDocTemplate):  # type: ignore[misc] # ReportLab has no types
    """Page templates (cover, text) of a sample, and its table of contents."""

    def __init__(self, target: Path, document: Document) -> None:
        fields = document.fields
        super().__init__(
            str(target),
            pagesize=document.page_size_points,
            title=fields["title"],
            author=fields["organisation"],
            subject=fields["subtitle"],
            invariant=1,
            pageCompression=0,
        )
        self._document = document
        width, height = document.page_size_points
        frame = Frame(MARGIN_POINTS, MARGIN_POINTS, width - 2 * MARGIN_POINTS, height - 2 * MARGIN_POINTS, 0, 0, 0, 0)
        self.addPageTemplates(
            [
                PageTemplate(id="cover", frames=[frame], onPage=self._draw_cover),
                PageTemplate(id="text", frames=[frame], onPage=self._draw_footer),
            ]
        )

    def afterFlowable(self, flowable: Flowable) -> None:  # noqa: N802 - name given by ReportLab
        """Report headings to the table of contents and to the outline of the PDF."""
        level = getattr(flowable, "outline_level", None)
        if level is None or not isinstance(flowable, Paragraph):
            return
        text = flowable.getPlainText()
        key = re.sub(r"[^a-z0-9]+", "-", text.lower())
        self.canv.bookmarkPage(key)
        self.canv.addOutlineEntry(text, key, level=level, closed=level == 0)
        if level == 0 or self._document.breaks_at_sections:
            self.notify("TOCEntry", (level, escape(text), self.page, key))

    def _draw_cover(self, canvas: Canvas, _template: BaseDocTemplate) -> None:
        width, height = self._document.page_size_points
        fields = self._document.fields
        band_points = height * COVER_BAND_SHARE
        canvas.setFillColor(ACCENT)
        canvas.rect(0, height - band_points, width, band_points, stroke=0, fill=1)
        canvas.setFillColor(WHITE)
        canvas.setFont("Helvetica", 11)
        canvas.drawString(MARGIN_POINTS, height - MARGIN_POINTS, fields["organisation"])
        canvas.setFont("Helvetica-Bold", 30)
        canvas.drawString(MARGIN_POINTS, height - band_points + 30, fields["title"])
        canvas.setFillColor(INK)

    def _draw_footer(self, canvas: Canvas, _template: BaseDocTemplate) -> None:
        width, _ = self._document.page_size_points
        canvas.setStrokeColor(RULE)
        canvas.line(MARGIN_POINTS, 40, width - MARGIN_POINTS, 40)
        canvas.setFillColor(ACCENT)
        canvas.setFont("Helvetica", 8)
        fields = self._document.fields
        canvas.drawString(MARGIN_POINTS, 28, f"{fields['organisation']} - {fields['title']}")
        canvas.drawRightString(width - MARGIN_POINTS, 28, str(self.page))


def parse(text: str) -> Document:
    """Read a text file: `name: value` lines, a blank line, then blocks separated by blank lines."""
    head, _, body = text.partition("\n\n")
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    blocks = tuple(_parse_block(chunk.splitlines()) for chunk in re.split(r"\n{2,}", body.strip()))
    return Document(fields=fields, blocks=blocks)


def _parse_block(lines: Sequence[str]) -> Block:
    """Tell the kind of a block by how its first line begins, and take that mark off its lines."""
    kind = KIND_BY_MARK.get(lines[0].split(" ", 1)[0], BlockKind.PARAGRAPH)
    match kind:
        case BlockKind.TABLE:
            return Block(kind=kind, lines=tuple(lines))
        case BlockKind.PARAGRAPH:
            return Block(kind=kind, lines=(" ".join(lines),))
        case _:
            return Block(kind=kind, lines=tuple(line.split(" ", 1)[1] for line in lines))


def _styles(*, body_points: float) -> Styles:
    """Derive all paragraph styles from the size of the body text, in points."""
    body = _style("body", "Times-Roman", body_points, after_points=body_points * 0.6)
    cell = _style("cell", "Helvetica", body_points * 0.78)
    contents_section = _style("contents-section", "Helvetica", 9)
    return Styles(
        body=body,
        cell=cell,
        chapter=_style("chapter", "Helvetica-Bold", 19, color=ACCENT, after_points=10),
        contents=(
            _style("contents-chapter", "Helvetica-Bold", 9.5, after_points=1),
            ParagraphStyle("contents-indented", contents_section, leftIndent=12),
        ),
        head_cell=_style("head-cell", "Helvetica-Bold", cell.fontSize, color=WHITE),
        item=ParagraphStyle("item", body, spaceAfter=3, leftIndent=16, bulletIndent=2),
        note=_style("note", "Helvetica", body_points * 0.84, color=ACCENT),
        section=_style("section", "Helvetica-Bold", 13, after_points=6),
    )


def _style(name: str, font: str, points: float, *, color: Color = INK, after_points: float = 0) -> ParagraphStyle:
    """Make a style of the given font size, in points, with a line height that suits it."""
    return ParagraphStyle(
        name,
        fontName=font,
        fontSize=points,
        leading=points * LINE_HEIGHT_FACTOR,
        textColor=color,
        spaceAfter=after_points,
    )


def _story(document: Document) -> list[Flowable]:
    """Turn a document into the sequence that ReportLab sets: cover, contents, text."""
    width_points = document.page_size_points[0] - 2 * MARGIN_POINTS
    styles = _styles(body_points=12.5 if document.breaks_at_sections else 11.5)
    contents = TableOfContents(levelStyles=list(styles.contents), dotsMinLevel=-1, tableStyle=CONTENTS_STYLE)
    story: list[Flowable] = [*_cover(document, styles), Paragraph("Contents", styles.chapter), contents]
    before = BlockKind.PARAGRAPH
    for block in document.blocks:
        story += [*_space_above(block.kind, before, document), *_flowables(block, styles, width_points)]
        before = block.kind
    return story


def _space_above(kind: BlockKind, before: BlockKind, document: Document) -> list[Flowable]:
    """Start a page, or leave some space, above a heading; a section just below its chapter shares its page."""
    if kind is BlockKind.CHAPTER:
        return [PageBreak()]
    if kind is not BlockKind.SECTION or before is BlockKind.CHAPTER:
        return []
    return [PageBreak()] if document.breaks_at_sections else [Spacer(0, 8), CondPageBreak(SECTION_MINIMUM_POINTS)]


def _cover(document: Document, styles: Styles) -> Iterator[Flowable]:
    """Yield the texts below the coloured band of the cover."""
    height_points = document.page_size_points[1]
    yield Spacer(0, height_points * COVER_BAND_SHARE - MARGIN_POINTS + 28)
    yield Paragraph(escape(document.fields["subtitle"]), styles.section)
    yield Paragraph(escape(document.fields["edition"]), styles.body)
    yield Spacer(0, 30)
    yield Paragraph(escape(document.fields["notice"]), styles.note)
    yield NextPageTemplate("text")
    yield PageBreak()


def _flowables(block: Block, styles: Styles, width_points: float) -> list[Flowable]:
    """Set one block, `width_points` wide."""
    if block.kind in HEADING_LEVELS:
        return [_heading(escape(block.lines[0]), styles, HEADING_LEVELS[block.kind])]
    text = escape(" ".join(block.lines))
    match block.kind:
        case BlockKind.PARAGRAPH:
            return [Paragraph(text, styles.body)]
        case BlockKind.NOTE:
            return [_note(text, styles, width_points), Spacer(0, 8)]
        case BlockKind.TABLE:
            return [_table(block.lines, styles, width_points), Spacer(0, 10)]
        case BlockKind.BULLETS:
            return _list(block.lines, itertools.repeat("\u2022"), styles)
        case _:
            return _list(block.lines, (f"{number}." for number in itertools.count(1)), styles)


def _list(lines: Sequence[str], marks: Iterable[str], styles: Styles) -> list[Flowable]:
    """Set a list on one page, so that no citation has to name two."""
    items = [Paragraph(escape(line), styles.item, mark) for line, mark in zip(lines, marks, strict=False)]
    return [KeepTogether([*items, Spacer(0, 4)])]


def _heading(text: str, styles: Styles, level: int) -> Paragraph:
    """Make a heading which stays with the next paragraph and is listed in the contents."""
    heading = Paragraph(text, styles.section if level else styles.chapter)
    heading.keepWithNext = True
    heading.outline_level = level
    return heading


def _note(text: str, styles: Styles, width_points: float) -> Table:
    return Table(
        [[Paragraph(text, styles.note)]],
        colWidths=[width_points],
        style=TableStyle([("BACKGROUND", (0, 0), (-1, -1), PALE), ("LINEBEFORE", (0, 0), (0, -1), 3, ACCENT)]),
    )


def _table(lines: Sequence[str], styles: Styles, width_points: float) -> Table:
    """Set a table whose first line is its head; the head is repeated where the table crosses a page."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    cells = [
        [Paragraph(escape(cell), styles.cell if index else styles.head_cell) for cell in row]
        for index, row in enumerate(rows)
    ]
    return Table(
        cells,
        colWidths=_column_widths_points(rows, width_points),
        repeatRows=1,
        style=TableStyle(
            [
                ("BACKGROUND", (0, 0), (-1, 0), ACCENT),
                ("ROWBACKGROUNDS", (0, 1), (-1, -1), [WHITE, PALE]),
                ("LINEBELOW", (0, 0), (-1, -1), 0.4, RULE),
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("TOPPADDING", (0, 0), (-1, -1), 2.5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 3.5),
            ]
        ),
    )


def _column_widths_points(rows: Sequence[Sequence[str]], width_points: float) -> list[float]:
    """Share the width of the page, in points, by the longest cell of each column."""
    columns = list(zip(*rows, strict=True))
    cells_chars = [max(len(cell) for cell in column) for column in columns]
    words_chars = [max(len(word) for cell in column for word in cell.split()) for column in columns]
    weights = [
        max(min(cell_chars, CELL_MAX_CHARS), word_chars + CELL_SPARE_CHARS)
        for cell_chars, word_chars in zip(cells_chars, words_chars, strict=True)
    ]
    return [width_points * weight / sum(weights) for weight in weights]


def generate(output_dir: Path) -> list[Path]:
    """Write one PDF for each text file.

    Parameters
    ----------
    output_dir
        Existing directory for the PDFs; files of the same name are replaced.

    Returns
    -------
    list[Path]
        The files written, by name.

    Raises
    ------
    FileNotFoundError
        If there is no text file, which means that the checkout is incomplete.

    """
    sources = sorted(CONTENT_DIR.glob("*.md"))
    if not sources:
        raise FileNotFoundError(f"no text files in {CONTENT_DIR}")
    targets = []
    for source in sources:
        document = parse(source.read_text(encoding="utf-8"))
        target = output_dir / f"{source.stem}.pdf"
        SampleTemplate(target, document).multiBuild(_story(document))
        targets.append(target)
    return targets


def main() -> None:
    """Write the PDFs into the directory given on the command line, by default next to this file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, default=SAMPLES_DIR, help="existing directory for the PDFs")
    for target in generate(parser.parse_args().output):
        print(f"{target} ({target.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
