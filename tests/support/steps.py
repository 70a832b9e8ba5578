"""A world for pipeline steps: everything in memory, one journal of what was written, and a control with a script."""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

from typing_extensions import override

from ragline.common.models import CollectionRecord, DocumentRecord, DocumentState, JobRecord, JobState, Page
from ragline.common.queues import FIRST_STEP, ROUTES, JobKind
from ragline.pipeline.converting import SplitStep
from ragline.pipeline.indexing import IndexStep
from ragline.pipeline.protocols import EmbeddedBatch, StepDone
from ragline.pipeline.removing import Remover
from ragline.pipeline.splitters import PageSplitter
from ragline.stores.document_files import DocumentFiles
from ragline.stores.ledger.claims import Claim, ClaimLost, ClaimState
from ragline.stores.ledger.working import WorkLedger
from ragline.stores.memory import MemoryVectorStore
from ragline.stores.objects import ObjectStore
from ragline.stores.protocols import VectorEntry
from tests.support.passages import WordEmbedder

__all__ = [
    "COLLECTION",
    "DOCUMENT",
    "CountingEmbedder",
    "Journal",
    "MemoryLedger",
    "ScriptedControl",
    "World",
    "make_document",
    "make_job",
]

TENANT, DOCUMENT = "default", "doc_1"
SPACE = "test/words"

COLLECTION = CollectionRecord(
    tenant=TENANT,
    name="papers",
    generation=4,
    space=SPACE,
    physical="ragline-test",
    documents=1,
    chunks=0,
    created_at=1,
)

Journal = list[tuple[str, object]]
"""What was changed, in order: the verb and what it was about."""


def make_job(kind: JobKind = JobKind.INGEST, **changes: Any) -> JobRecord:  # noqa: ANN401 - the fields of a job
    """A running job of the collection `papers`."""
    empty: dict[str, Any] = dict.fromkeys(JobRecord.__dataclass_fields__, "")
    step = FIRST_STEP[kind]
    job = JobRecord(**{**empty, "id": "job_1", "kind": kind, "step": step, "queue": ROUTES[step].queue})
    common = {"tenant": TENANT, "collection": COLLECTION.name, "document_id": DOCUMENT, "version": 1}
    usual: dict[str, Any] = {"state": JobState.RUNNING, "params": {"name": "a.pdf"}, **common}
    return replace(job, **{**usual, **changes})


def make_document(**changes: Any) -> DocumentRecord:  # noqa: ANN401 - the fields of a document
    """A document whose first version is visible."""
    empty: dict[str, Any] = dict.fromkeys(DocumentRecord.__dataclass_fields__, 0)
    place = {"tenant": TENANT, "collection": COLLECTION.name, "physical": COLLECTION.physical}
    common = {"id": DOCUMENT, "name": "a.pdf", "version": 1, **place}
    return DocumentRecord(
        **{**empty, "state": DocumentState.INDEXED, "error": None, "metadata": {}, **common, **changes}
    )


@dataclass(kw_only=True)
class MemoryLedger:
    """The worker's ledger as far as steps use it."""

    journal: Journal
    collections: dict[str, CollectionRecord] = field(default_factory=lambda: {COLLECTION.name: COLLECTION})
    records: dict[str, DocumentRecord] = field(default_factory=dict)
    uploads: dict[str, dict[int, str]] = field(default_factory=dict)
    control: "ScriptedControl | None" = None
    fence_held: bool = False
    before_fence: "Callable[[], None]" = lambda: None

    def collection(self, tenant: str, name: str) -> CollectionRecord | None:
        assert tenant == TENANT
        return self.collections.get(name)

    def commit(self, claim: Claim, *, pages: int, chunks: int) -> None:
        job = claim.job
        self.journal.append(("commit", job.version))
        self.records[job.document_id] = make_document(
            id=job.document_id, version=job.version, pages=pages, chunks=chunks, accepted_version=job.version
        )

    def document_ids(self, tenant: str, collection: str, *, newest: int = 0) -> list[str]:
        ids = [
            record.id for record in self.records.values() if (record.tenant, record.collection) == (tenant, collection)
        ]
        return ids[-newest:]

    def documents(self, document_ids: Sequence[str]) -> dict[str, DocumentRecord]:
        return {document_id: self.records[document_id] for document_id in document_ids if document_id in self.records}

    def fence(self, _claim: Claim) -> None:
        # Asks for the claim, as the real one does.
        if self.control is not None:
            self.control.report()
        self.fence_held = True

    def keep_fence(self, claim: Claim) -> None:
        assert self.fence_held
        self.fence(claim)

    @contextmanager
    def fenced(self, claim: Claim) -> Iterator[None]:
        before, self.before_fence = self.before_fence, lambda: None
        before()
        self.fence(claim)
        try:
            yield
        finally:
            self.release_fence(claim)

    def release_fence(self, _claim: Claim) -> None:
        self.fence_held = False

    def forget_originals(self, document_id: str, versions: Sequence[int]) -> None:
        self.journal.append(("forget", sorted(versions)))
        for version in versions:
            del self.uploads[document_id][version]

    def mark(self, *, damaged: Collection[str], littered: Collection[str]) -> None:
        if damaged or littered:
            self.journal.append(("mark", (sorted(damaged), sorted(littered))))

    def metadata(self, tenant: str, collection: str) -> dict[str, Mapping[str, Any]]:
        assert (tenant, collection) == (TENANT, COLLECTION.name)
        return {record.id: record.metadata for record in self.records.values() if record.version and record.metadata}

    def spend(self, tenant: str, tokens: int) -> None:
        self.journal.append(("spend", (tenant, tokens)))

    def originals(self, document_id: str) -> dict[int, str]:
        return dict(self.uploads.get(document_id, {}))


class _JournalledVectors(MemoryVectorStore):
    """Calls `on_list` before a scope is listed: the world changes while a step works."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal
        self.on_list: Callable[[], None] = lambda: None

    @override
    def add(self, physical: str, entries: Sequence[VectorEntry]) -> None:
        self._journal.append(("add", [entry.id for entry in entries]))
        super().add(physical, entries)

    @override
    def delete(self, physical: str, ids: Iterable[str]) -> None:
        wanted = sorted(ids)
        self._journal.append(("delete", wanted))
        super().delete(physical, wanted)

    @override
    def ids_of_scope(self, physical: str, scope: str) -> dict[str, str]:
        self.on_list()
        return super().ids_of_scope(physical, scope)

    def entries(self) -> dict[str, VectorEntry]:
        return self._collections.get(COLLECTION.physical, {})


class _JournalledObjects(ObjectStore):
    def __init__(self, journal: Journal) -> None:
        super().__init__("memory:///")
        self._journal = journal

    @override
    def delete_prefix(self, prefix: str) -> None:
        self._journal.append(("delete files", prefix))
        super().delete_prefix(prefix)

    @override
    def get(self, key: str) -> bytes:
        data = super().get(key)
        self._journal.append(("get", key))
        return data

    @override
    def put(self, key: str, data: bytes) -> None:
        self._journal.append(("put", key))
        super().put(key, data)

    @override
    def remove(self, key: str) -> None:
        self._journal.append(("delete files", key))
        super().remove(key)


class CountingEmbedder(WordEmbedder):
    """Remembers what it embedded; raises `failure` when it has embedded `fails_after` more texts."""

    def __init__(self, *, space: str = SPACE) -> None:
        super().__init__(space=space)
        self.texts: list[str] = []
        self.fails_after: int | None = None
        self.failure: Exception = AssertionError()

    @override
    def stream(
        self, texts: Sequence[str], should_stop: Callable[[], bool] | None = None
    ) -> Generator[EmbeddedBatch, None, None]:
        for number, batch in enumerate(super().stream(texts, should_stop)):
            if number == self.fails_after:
                raise self.failure
            self.texts.append(texts[batch.start])
            yield batch


@dataclass(kw_only=True)
class ScriptedControl:
    """A claim that is lost at one of its reports, and a budget of looks.

    Attributes
    ----------
    lost_at
        The report, counted from 1, at which the claim turns out to be lost.
    stop_after
        How often `should_stop` says no.
    """

    journal: Journal
    job: JobRecord
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    lost_at: int | None = None
    stop_after: int | None = None
    reports: int = 0
    looks: int = 0
    progress: list[tuple[int, int, str]] = field(default_factory=list)
    events: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    @property
    def claim(self) -> Claim:
        return Claim(job=self.job, token="1", checkpoint=self.checkpoint, queued_at=0, claimed_at=0)

    def report(
        self,
        *,
        progress: tuple[int, int, str] | None = None,
        checkpoint: Mapping[str, Any] | None = None,
        events: Sequence[tuple[str, Mapping[str, Any]]] = (),
    ) -> None:
        self.reports += 1
        if self.reports == self.lost_at:
            self.journal.append(("lost", self.reports))
            raise ClaimLost(ClaimState.LOST)
        self.progress += [progress] if progress else []
        self.checkpoint = checkpoint if checkpoint is not None else self.checkpoint
        self.events += events

    def should_stop(self) -> bool:
        self.looks += 1
        return self.stop_after is not None and self.looks > self.stop_after


class World:
    """Ledger, vector store and files of one collection with one document."""

    def __init__(self) -> None:
        self.journal: Journal = []
        self.ledger = MemoryLedger(journal=self.journal)
        self.vectors = _JournalledVectors(self.journal)
        self.objects = _JournalledObjects(self.journal)
        self.files = DocumentFiles(self.objects)
        self.embedder = CountingEmbedder()

    @property
    def work_ledger(self) -> WorkLedger:
        """The ledger as the type that steps ask for."""
        return cast("WorkLedger", self.ledger)

    @property
    def remover(self) -> Remover:
        """What removes chunks and files."""
        return Remover(ledger=self.work_ledger, files=self.files, vectors=self.vectors)

    @property
    def index_step(self) -> IndexStep:
        """The last step of an ingest."""
        return IndexStep(
            ledger=self.work_ledger,
            files=self.files,
            embedder=self.embedder,
            vectors=self.vectors,
            remover=self.remover,
        )

    def after_the_loss(self) -> Journal:
        """What was written after the claim was lost."""
        verbs = [verb for verb, _ in self.journal]
        rest = self.journal[verbs.index("lost") + 1 :]
        return [(verb, what) for verb, what in rest if verb != "get"]

    def control(self, **script: Any) -> ScriptedControl:  # noqa: ANN401 - the fields of `ScriptedControl`
        """A control whose job is the document's ingest unless another is given."""
        self.ledger.control = ScriptedControl(**{"journal": self.journal, "job": make_job(), **script})
        return self.ledger.control

    def ingest(self, pages: Sequence[str], *, version: int = 1, document_id: str = DOCUMENT) -> list[str]:
        """Bring a version to its end, and forget in the journal how; the ids of its chunks."""
        ids = self.split(pages, version=version, document_id=document_id)
        assert isinstance(
            self.index_step.run(self.control(job=make_job(document_id=document_id, version=version))), StepDone
        )
        self.journal.clear()
        return ids

    def split(self, pages: Sequence[str], *, version: int = 1, document_id: str = DOCUMENT) -> list[str]:
        """Make pages, manifest and original of a version; the ids of its chunks."""
        key = f"originals/{document_id}-{version}.pdf"
        self.objects.put(key, b"%PDF-")
        self.ledger.uploads.setdefault(document_id, {})[version] = key
        self.files.put_pages(document_id, version, [Page(number=n, text=text) for n, text in enumerate(pages, 1)])
        job = make_job(document_id=document_id, version=version)
        SplitStep(files=self.files, splitter=PageSplitter(chunk_size=100, chunk_overlap=0)).run(self.control(job=job))
        return [chunk.id for chunk in self.files.manifest(document_id, version).chunks]

    def stored(self) -> set[str]:
        """Ids of all chunks in the vector store."""
        return set(self.vectors.entries())

    def writes(self) -> list[str]:
        """The verbs of the journal that change something."""
        return [verb for verb, _ in self.journal if verb != "get"]
