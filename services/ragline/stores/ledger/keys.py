"""Names of the keys that Python reads or writes itself; `prelude.lua` makes the same names for the scripts."""

from ragline.common.queues import Queue

__all__ = [
    "answering_key",
    "collection_key",
    "collections_key",
    "document_key",
    "documents_key",
    "events_key",
    "held_key",
    "job_key",
    "littered_key",
    "metadata_key",
    "metrics_key",
    "originals_key",
    "unacked_index_key",
    "unacked_key",
    "unacked_mutex_key",
    "workers_key",
]

_PREFIX = "ragline:"


def answering_key() -> str:
    """What decides answers now beside question and documents."""
    return f"{_PREFIX}answering"


def job_key(job_id: str) -> str:
    """Hash of a job."""
    return f"{_PREFIX}job:{job_id}"


def events_key(job_id: str) -> str:
    """Stream of a job's events."""
    return f"{_PREFIX}job:{job_id}:events"


def document_key(document_id: str) -> str:
    """Hash of a document."""
    return f"{_PREFIX}doc:{document_id}"


def originals_key(document_id: str) -> str:
    """Hash of a document's versions and where the bytes of each lie."""
    return f"{document_key(document_id)}:originals"


def collections_key(tenant: str) -> str:
    """Set of a tenant's collection names."""
    return f"{_PREFIX}collections:{tenant}"


def collection_key(tenant: str, name: str) -> str:
    """Hash of a collection."""
    return f"{_PREFIX}collection:{tenant}:{name}"


def documents_key(tenant: str, name: str) -> str:
    """Sorted set of a collection's document ids by creation time."""
    return f"{collection_key(tenant, name)}:documents"


def metadata_key(tenant: str, name: str) -> str:
    """Hash of the metadata of a collection's visible documents that have some, as JSON by document id."""
    return f"{collection_key(tenant, name)}:metadata"


def littered_key() -> str:
    """Set of documents with leftovers of uploads that did not become visible."""
    return f"{_PREFIX}littered"


def metrics_key() -> str:
    """Hash of all counts and measurements of all processes; `common.metric_types` names its fields."""
    return f"{_PREFIX}metrics"


def held_key(queue: Queue) -> str:
    """Sorted set of the jobs that wait until a place on a queue becomes free for their tenant."""
    return f"{_PREFIX}held:{queue}"


def workers_key(queue: Queue) -> str:
    """Sorted set of living workers by the time they count as gone, Unix milliseconds."""
    return f"{_PREFIX}workers:{queue}"


def unacked_key(queue: Queue) -> str:
    """Kombu's hash of delivered but unfinished messages: its length is the queue's work in flight."""
    return f"unacked:{queue}"


def unacked_index_key(queue: Queue) -> str:
    """Kombu's sorted set of delivery times."""
    return f"unacked_index:{queue}"


def unacked_mutex_key(queue: Queue) -> str:
    """Kombu's lock around redelivery."""
    return f"unacked_mutex:{queue}"
