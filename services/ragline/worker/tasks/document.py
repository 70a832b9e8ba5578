"""Tasks of the `document` queue: PDF loading and splitting. CPU-bound, prefork pool, parsing in a child process."""

from typing import Any

from celery import shared_task

from ragline.pipeline.converters.pdf import PdfConverter
from ragline.pipeline.converting import ConvertStep, SplitStep
from ragline.pipeline.splitters import PageSplitter
from ragline.worker.base import StepTask
from ragline.worker.context import ProcessContext

__all__ = ["load_pdf_task", "split_documents_task"]


def _convert_step(context: ProcessContext) -> ConvertStep:
    config = context.config
    converter = PdfConverter(
        engine=config.pdf_engine,
        max_pages=config.max_pages,
        max_text_bytes=config.max_text_bytes,
        memory_bytes=config.parser_memory_bytes,
        cpu_seconds=config.parser_cpu_seconds,
    )
    return ConvertStep(files=context.files, converter=converter)


def _split_step(context: ProcessContext) -> SplitStep:
    config = context.config
    splitter = PageSplitter(chunk_size=config.chunk_size, chunk_overlap=config.chunk_overlap)
    return SplitStep(files=context.files, splitter=splitter)


@shared_task(name="load_pdf_task", base=StepTask, bind=True)
def load_pdf_task(self: StepTask, message: dict[str, Any]) -> None:
    """Read the text of a PDF's pages."""
    self.run_step(message, _convert_step)


@shared_task(name="split_documents_task", base=StepTask, bind=True)
def split_documents_task(self: StepTask, message: dict[str, Any]) -> None:
    """Split pages into chunks."""
    self.run_step(message, _split_step)
