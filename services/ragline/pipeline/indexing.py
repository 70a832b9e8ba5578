"""The last step of an ingest: chunks to vectors."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing

from ragline.common.errors import EmbeddingSpaceMismatch, ProtocolError
from ragline.common.measurements import MEASUREMENTS
from ragline.common.metrics import CHUNKS
from ragline.common.models import Chunk, CollectionRecord, JobRecord
from ragline.pipeline.protocols import EmbeddedBatch, Embedder, StepControl, StepDone, StepOutcome, StepUnfinished
from ragline.pipeline.removing import Remover
from ragline.stores.document_files import DocumentFiles
from ragline.stores.ledger.working import WorkLedger
from ragline.stores.protocols import VectorEntry, VectorStore, scope_of

__all__ = ["IndexStep"]


class IndexStep:
    """Chunks to vectors; then the version becomes the visible one and what it replaced is removed.

    Parameters
    ----------
    ledger
        Makes the version visible.
    files
        Holds pages and manifests.
    embedder
        Turns chunks into vectors.
    vectors
        Takes them.
    remover
        Removes what the new version replaced.
    """

    def __init__(
        self, *, ledger: WorkLedger, files: DocumentFiles, embedder: Embedder, vectors: VectorStore, remover: Remover
    ) -> None:
        self._ledger = ledger
        self._files = files
        self._embedder = embedder
        self._vectors = vectors
        self._remover = remover

    def run(self, control: StepControl) -> StepOutcome:
        """Embed the chunks that are not stored yet, as many as the budget allows.

        Raises
        ------
        EmbeddingSpaceMismatch
            The collection was embedded with another model.
        TransientError, RejectedError, ProtocolError
            Of the model or the vector store; what was stored before stays and is not embedded again.
        """
        with self._ledger.fenced(control.claim):
            return self._index(control)

    def _index(self, control: StepControl) -> StepOutcome:
        job = control.job
        collection = self._collection(job)
        manifest = self._files.manifest(job.document_id, job.version)
        stored = self._vectors.existing(collection.physical, [chunk.id for chunk in manifest.chunks])
        missing = [chunk for chunk in manifest.chunks if chunk.id not in stored]
        # An earlier run of this step has told how far it came: what is stored by now may be its work.
        if job.progress_total == 0:
            MEASUREMENTS.count(CHUNKS, "kept", amount=len(manifest.chunks) - len(missing))
        embedded = self._embed(control, collection, missing, total=len(manifest.chunks))
        if embedded < len(missing):
            return StepUnfinished(progressed=embedded > 0)
        self._ledger.commit(control.claim, pages=manifest.pages, chunks=len(manifest.chunks))
        kept = {chunk.id for chunk in manifest.chunks}
        if not self._remover.remove_hidden_chunks(control, collection.physical, keep=kept):
            return StepUnfinished(progressed=True)
        self._remover.remove_old_files(control, keep_versions={job.version}, newest=job.version)
        counts = {"pages": manifest.pages, "chunks": len(manifest.chunks), "embedded": embedded}
        return StepDone(result={"document_id": job.document_id, "version": job.version, **counts})

    def _collection(self, job: JobRecord) -> CollectionRecord:
        collection = self._ledger.collection(job.tenant, job.collection)
        if collection is None:
            raise ProtocolError("ledger", "read collection", f"collection {job.collection} is missing")
        if collection.space != self._embedder.space:
            raise EmbeddingSpaceMismatch(
                f"The collection lives in {collection.space}, this worker embeds in {self._embedder.space}"
            )
        return collection

    def _embed(
        self, control: StepControl, collection: CollectionRecord, missing: Sequence[Chunk], *, total: int
    ) -> int:
        done, before = 0, total - len(missing)
        with closing(self._batches(control.job, missing, control.should_stop)) as batches:
            for chunks, batch in batches:
                control.report(progress=(before + done, total, "chunks"))
                self._ledger.fence(control.claim)
                self._vectors.add(collection.physical, _entries(control.job, chunks, batch))
                done += len(chunks)
                MEASUREMENTS.count(CHUNKS, "embedded", amount=len(chunks))
        control.report(progress=(before + done, total, "chunks"))
        return done

    def _batches(
        self, job: JobRecord, missing: Sequence[Chunk], should_stop: Callable[[], bool]
    ) -> Generator[tuple[list[Chunk], EmbeddedBatch], None, None]:
        if not missing:
            return
        pages = {page.number: page.text for page in self._files.pages(job.document_id, job.version)}
        chunks = [_with_text(chunk, pages[chunk.page]) for chunk in missing]
        with closing(self._embedder.stream([chunk.text for chunk in chunks], should_stop)) as stream:
            for batch in stream:
                yield chunks[batch.start : batch.start + len(batch.vectors)], batch


def _with_text(chunk: Chunk, page_text: str) -> Chunk:
    text = page_text[chunk.start : chunk.end]
    return Chunk(id=chunk.id, page=chunk.page, start=chunk.start, end=chunk.end, text=text)


def _entries(job: JobRecord, chunks: Sequence[Chunk], batch: EmbeddedBatch) -> list[VectorEntry]:
    return [
        VectorEntry(
            id=chunk.id,
            vector=vector,
            text=chunk.text,
            scope=scope_of(job.tenant, job.collection),
            document_id=job.document_id,
            source=job.params["name"],
            page=chunk.page,
        )
        for chunk, vector in zip(chunks, batch.vectors, strict=True)
    ]
