"""The first two steps of an ingest: PDF to pages, pages to chunks."""

from dataclasses import asdict

from ragline.common.errors import NoText
from ragline.common.measurements import MEASUREMENTS
from ragline.common.metrics import PAGES
from ragline.pipeline.converters.pdf import Carry, PdfConverter
from ragline.pipeline.protocols import StepControl, StepDone, StepOutcome, StepUnfinished
from ragline.pipeline.splitters import PageSplitter
from ragline.stores.document_files import DocumentFiles, Manifest

__all__ = ["ConvertStep", "SplitStep"]


class ConvertStep:
    """PDF to page text.

    Parameters
    ----------
    files
        Where the original is read from and the pages go.
    converter
        Reads the PDF under its limits.
    """

    def __init__(self, *, files: DocumentFiles, converter: PdfConverter) -> None:
        self._files = files
        self._converter = converter

    def run(self, control: StepControl) -> StepOutcome:
        """Read as many pages as the budget allows.

        Raises
        ------
        DocumentError
            The document cannot be read, is over a limit, or holds no text at all.
        """
        job, checkpoint = control.job, control.claim.checkpoint
        with self._files.objects.local_copy(job.params["object_key"]) as path:
            run = self._converter.run(
                path,
                first_page=checkpoint.get("next_page", 1),
                should_stop=control.should_stop,
                carry=Carry(**checkpoint.get("carry", {})),
            )
        # Asks for the claim right before the write: a zombie has nothing more to write.
        control.report()
        self._files.put_pages(job.document_id, job.version, run.pages)
        MEASUREMENTS.count(PAGES, amount=len(run.pages))
        has_text = checkpoint.get("has_text", False) or any(page.text.strip() for page in run.pages)
        if run.next_page is not None:
            saved = {"next_page": run.next_page, "carry": asdict(run.carry), "has_text": has_text}
            control.report(progress=(run.next_page - 1, run.page_count, "pages"), checkpoint=saved)
            return StepUnfinished(progressed=bool(run.pages))
        if not has_text:
            raise NoText(f"No page of {run.page_count} holds text")
        control.report(progress=(run.page_count, run.page_count, "pages"))
        return StepDone()


class SplitStep:
    """Pages to chunks and their manifest.

    Parameters
    ----------
    files
        Where the pages are read from and the manifest goes.
    splitter
        Cuts pages into chunks.
    """

    def __init__(self, *, files: DocumentFiles, splitter: PageSplitter) -> None:
        self._files = files
        self._splitter = splitter

    def run(self, control: StepControl) -> StepOutcome:
        """Split all pages, in one go: half a split is worth nothing to a successor, so there is nothing to hand back.

        The largest document, 50 MB of text on one page, takes 0.7 s of CPU time without blanks (CJK: 0.4 s), 5 s as
        prose and 17 s as words of one letter, and 90 MB beyond its own text (measured).
        """
        job = control.job
        pages = list(self._files.pages(job.document_id, job.version))
        chunks = self._splitter.run(pages, tenant=job.tenant, collection=job.collection, document_id=job.document_id)
        if not chunks:
            raise NoText("The document's text holds nothing to index")
        control.report(progress=(len(chunks), len(chunks), "chunks"))
        self._files.put_manifest(job.document_id, job.version, Manifest(pages=len(pages), chunks=tuple(chunks)))
        return StepDone()
