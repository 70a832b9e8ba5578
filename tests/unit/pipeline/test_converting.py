"""PDF to pages to chunks: what was handed back goes on, and a lost claim writes nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from ragline.common.errors import NoText
from ragline.common.models import Page
from ragline.pipeline.converters.pdf import Carry, ConvertedPages, PdfConverter
from ragline.pipeline.converting import ConvertStep, SplitStep
from ragline.pipeline.protocols import StepDone, StepOutcome, StepUnfinished
from ragline.pipeline.splitters import PageSplitter
from ragline.stores.ledger.claims import ClaimLost
from tests.support import pdfs
from tests.support.parsers import converter
from tests.support.steps import DOCUMENT, ScriptedControl, World, make_job

PAGES = ["The vault code is 1111.", "Otters sleep in rafts.", "Herons stand on one leg.", "Moles see little."]


@pytest.fixture
def world() -> World:
    return World()


@dataclass
class ScriptedConverter:
    """Reads one page between two looks at the budget."""

    texts: Sequence[str]
    runs: list[tuple[int, Carry]] = field(default_factory=list)

    def run(self, path: Path, *, should_stop: Callable[[], bool], first_page: int, carry: Carry) -> ConvertedPages:
        assert path.read_bytes().startswith(b"%PDF-")
        self.runs.append((first_page, carry))
        pages = []
        for number in range(first_page, len(self.texts) + 1):
            if should_stop():
                break
            pages.append(Page(number=number, text=self.texts[number - 1]))
        following = first_page + len(pages)
        return ConvertedPages(
            pages=pages,
            page_count=len(self.texts),
            next_page=following if following <= len(self.texts) else None,
            engine="pdfium",
            carry=Carry(cpu_seconds=carry.cpu_seconds + 1, text_bytes=following, engine="pypdf"),
        )


def _control(world: World, **script: Any) -> ScriptedControl:  # noqa: ANN401 - of `ScriptedControl`
    world.objects.put("originals/x.pdf", pdfs.text_pdf(PAGES))
    world.journal.clear()
    return world.control(job=make_job(params={"object_key": "originals/x.pdf", "name": "a.pdf"}), **script)


def _run(world: World, control: ScriptedControl, texts: Sequence[str] = PAGES) -> StepOutcome:
    reader = cast("PdfConverter", ScriptedConverter(texts))
    return ConvertStep(files=world.files, converter=reader).run(control)


def _texts(world: World) -> list[str]:
    pages = list(world.files.pages(DOCUMENT, 1))
    assert [page.number for page in pages] == list(range(1, len(pages) + 1))
    return [page.text for page in pages]


def test_a_real_document_is_read_from_a_store_without_paths(world: World) -> None:
    control = _control(world)

    assert ConvertStep(files=world.files, converter=converter()).run(control) == StepDone()
    assert [text.strip() for text in _texts(world)] == PAGES
    assert control.progress[-1] == (4, 4, "pages")


def test_it_goes_on_where_it_was_handed_back(world: World) -> None:
    control = _control(world, stop_after=1)
    reader = ScriptedConverter(PAGES)
    step = ConvertStep(files=world.files, converter=cast("PdfConverter", reader))

    assert step.run(control) == StepUnfinished(progressed=True)
    assert control.progress[-1] == (1, 4, "pages")
    control = replace(control, stop_after=None)
    assert step.run(control) == StepDone()

    assert reader.runs == [(1, Carry()), (2, Carry(cpu_seconds=1, text_bytes=2, engine="pypdf"))]
    assert _texts(world) == PAGES


def test_a_run_that_read_nothing_made_no_progress(world: World) -> None:
    assert _run(world, _control(world, stop_after=0)) == StepUnfinished(progressed=False)


def test_a_run_whose_checkpoint_was_lost_is_read_again_without_doubles(world: World) -> None:
    longer = _control(world, stop_after=3, lost_at=2)
    with pytest.raises(ClaimLost):
        _run(world, longer)

    shorter = _control(world, stop_after=1)
    _run(world, shorter)
    _run(world, replace(shorter, stop_after=None))

    assert _texts(world) == PAGES


@pytest.mark.parametrize("stop_after", [None, 2])
@pytest.mark.parametrize("lost_at", [1, 2])
def test_a_lost_claim_writes_nothing(world: World, lost_at: int, stop_after: int | None) -> None:
    control = _control(world, lost_at=lost_at, stop_after=stop_after)

    with pytest.raises(ClaimLost):
        _run(world, control)
    assert world.after_the_loss() == []
    assert world.writes().count("put") == lost_at - 1
    assert control.checkpoint == {}


@pytest.mark.parametrize("stop_after", [None, 1])
def test_a_document_without_text_fails_at_its_end(world: World, stop_after: int | None) -> None:
    control = _control(world, stop_after=stop_after)
    if stop_after:
        _run(world, control, [" ", "\n\t"])
        control = replace(control, stop_after=None)

    with pytest.raises(NoText, match="No page of 2 holds text"):
        _run(world, control, [" ", "\n\t"])


def test_text_of_an_earlier_run_counts(world: World) -> None:
    control = _control(world, stop_after=1)
    _run(world, control, ["Words.", " "])

    assert _run(world, replace(control, stop_after=None), ["Words.", " "]) == StepDone()


def _split(world: World, control: ScriptedControl, pages: Sequence[str] = PAGES) -> StepOutcome:
    world.files.put_pages(DOCUMENT, 1, [Page(number=n, text=text) for n, text in enumerate(pages, 1)])
    world.journal.clear()
    return SplitStep(files=world.files, splitter=PageSplitter(chunk_size=100, chunk_overlap=0)).run(control)


def test_the_manifest_lists_exact_places(world: World) -> None:
    control = world.control()

    assert _split(world, control) == StepDone()

    manifest = world.files.manifest(DOCUMENT, 1)
    assert [PAGES[chunk.page - 1][chunk.start : chunk.end] for chunk in manifest.chunks] == PAGES
    assert (manifest.pages, control.progress) == (4, [(4, 4, "chunks")])


def test_pages_of_blanks_hold_nothing_to_index(world: World) -> None:
    with pytest.raises(NoText):
        _split(world, world.control(), [" ", "\n"])
    assert world.writes() == []


def test_a_lost_claim_writes_no_manifest(world: World) -> None:
    with pytest.raises(ClaimLost):
        _split(world, world.control(lost_at=1))
    assert world.writes() == ["lost"]
