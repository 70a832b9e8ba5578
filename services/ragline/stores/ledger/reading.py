"""The ledger as the API reads it: records, events, queues. Asynchronous; one instance a process."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import redis.asyncio

from ragline.common.errors import Conflict, NotFound
from ragline.common.identifiers import is_collection_name, is_id
from ragline.common.models import CollectionRecord, DocumentRecord, Event, JobRecord, JobState, QueueStatus
from ragline.common.queues import Queue
from ragline.stores.ledger.keys import (
    collection_key,
    collections_key,
    document_key,
    documents_key,
    events_key,
    held_key,
    job_key,
    unacked_key,
    workers_key,
)
from ragline.stores.ledger.records import collection_record, document_record, job_record
from ragline.stores.ledger.scripts import script_source
from ragline.stores.redis_errors import redis_errors

__all__ = ["NO_COLLECTION", "NO_DOCUMENT", "NO_JOB", "ReadLedger", "check_collection", "check_document", "check_job"]

NO_COLLECTION = "There is no such collection"
NO_DOCUMENT = "There is no such document"
NO_JOB = "There is no such job"

_TIES = 64
"""Documents of one millisecond that a page reads beyond its limit at first, to find where the page before ended."""


class ReadLedger:
    """Answers questions about accepted work. All methods raise `TransientError` when Redis is away."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        # redis-py types every answer as one that may have to be awaited.
        self._redis: Any = client
        self._generation = self._redis.register_script(script_source("generation"))
        self._look = self._redis.register_script(script_source("look"))

    async def collection(self, tenant: str, name: str) -> CollectionRecord:
        """One collection, or `NotFound`; one that is being deleted is not there any more."""
        check_collection(name)
        with redis_errors("read collection"):
            pipe = self._redis.pipeline(transaction=False)
            pipe.hgetall(collection_key(tenant, name)).zcard(documents_key(tenant, name))
            row, documents = await pipe.execute()
        if not row or "drop_job" in row:
            raise NotFound(NO_COLLECTION)
        return collection_record(row, documents)

    async def collections(self, tenant: str, *, after: str = "", limit: int) -> list[CollectionRecord]:
        """A page of a tenant's collections by name, beginning behind the name `after`."""
        with redis_errors("list collections"):
            names = sorted(name for name in await self._redis.smembers(collections_key(tenant)) if name > after)[:limit]
            pipe = self._redis.pipeline(transaction=False)
            for name in names:
                pipe.hgetall(collection_key(tenant, name)).zcard(documents_key(tenant, name))
            rows = await pipe.execute()
        return [collection_record(row, count) for row, count in zip(rows[::2], rows[1::2], strict=True) if row]

    async def document(self, tenant: str, document_id: str) -> DocumentRecord:
        """One document, or `NotFound`."""
        check_document(document_id)
        with redis_errors("read document"):
            row = await self._redis.hgetall(document_key(document_id))
        if not row or row["tenant"] != tenant:
            raise NotFound(NO_DOCUMENT)
        return document_record(row)

    async def documents(
        self, tenant: str, name: str, *, after: tuple[int, str] = (0, ""), limit: int
    ) -> list[DocumentRecord]:
        """A page of a collection's documents, oldest first, beginning behind the creation time and id `after`."""
        check_collection(name)
        key, spare = documents_key(tenant, name), _TIES
        while True:
            with redis_errors("list documents"):
                rows = await self._redis.zrange(
                    key, after[0], "+inf", byscore=True, withscores=True, offset=0, num=limit + spare
                )
            ids = [document_id for document_id, score in rows if (int(score), document_id) > after]
            if len(ids) >= limit or len(rows) < limit + spare:
                return await self._documents(ids[:limit])
            spare *= 8

    async def events(self, job_id: str, *, after: str = "0", block_seconds: float = 1.0) -> list[Event]:
        """Events after the given id; waits up to `block_seconds` for the first one, 0 for not at all."""
        # Redis takes 0 for "wait for ever".
        block = max(1, int(block_seconds * 1000)) if block_seconds > 0 else None
        with redis_errors("read events", measured=block is None):
            answer = await self._redis.xread({events_key(job_id): after}, count=500, block=block)
        entries = answer[0][1] if answer else []
        return [Event(id=key, type=row["type"], data=orjson.loads(row["data"])) for key, row in entries]

    async def follow(self, job_id: str, *, after: str = "0", block_seconds: float = 1.0) -> AsyncIterator[Event | None]:
        """Events until the job is done; None for every wait without one, so that the caller can look around.

        A reader that has all events of a finished job already, or follows a forgotten one, gets none.
        """
        last, ended = after, False
        while True:
            batch = await self.events(job_id, after=last, block_seconds=0 if ended else block_seconds)
            if not batch:
                if ended:
                    return
                yield None
                ended = await self._has_ended(job_id)
            for event in batch:
                yield event
                last = event.id
                if event.type == "done":
                    return

    async def has_generation(self, tenant: str, name: str, generation: int) -> bool:
        """Whether everything that was promised for a generation of a collection, or for an earlier one, has ended.

        Raises
        ------
        NotFound
            The tenant has no such collection.
        Conflict
            No upload was promised for it: waiting would not help.
        """
        check_collection(name)
        with redis_errors("read generation"):
            answer = await self._generation(keys=[], args=[tenant, name, generation])
        match answer[0]:
            case "no_collection":
                raise NotFound(NO_COLLECTION)
            case "beyond":
                detail = f"The collection is at generation {answer[1]}, and no upload leads to {generation}"
                raise Conflict(detail)
            case word:
                return bool(word == "reached")

    async def job(self, tenant: str, job_id: str) -> JobRecord:
        """One job with its place among the waiting and the workers of its queue, or `NotFound`; one round trip."""
        check_job(job_id)
        with redis_errors("read job"):
            found = await self._look(keys=[], args=[job_id])
        row = dict(zip(found[0][::2], found[0][1::2], strict=True)) if found else {}
        if not row or row["tenant"] != tenant:
            raise NotFound(NO_JOB)
        return job_record(row, position=found[1], workers=tuple(found[2]))

    async def ping(self) -> None:
        """Return when Redis answers."""
        with redis_errors("ping"):
            await self._redis.ping()

    async def queues(self) -> list[QueueStatus]:
        """All queues; one round trip after the server's clock."""
        with redis_errors("read queues"):
            seconds, _ = await self._redis.time()
            pipe = self._redis.pipeline(transaction=False)
            for queue in Queue:
                pipe.llen(queue).zcard(held_key(queue)).hlen(unacked_key(queue))
                pipe.zrangebyscore(workers_key(queue), seconds * 1000, "+inf")
            rows = await pipe.execute()
        return [
            QueueStatus(queue=queue, waiting=listed + held, in_flight=in_flight, workers=tuple(workers))
            for queue, listed, held, in_flight, workers in zip(
                Queue, rows[::4], rows[1::4], rows[2::4], rows[3::4], strict=True
            )
        ]

    async def _documents(self, ids: list[str]) -> list[DocumentRecord]:
        with redis_errors("read documents"):
            pipe = self._redis.pipeline(transaction=False)
            for document_id in ids:
                pipe.hgetall(document_key(document_id))
            rows = await pipe.execute()
        return [document_record(row) for row in rows if row]

    async def _has_ended(self, job_id: str) -> bool:
        with redis_errors("read job"):
            state = await self._redis.hget(job_key(job_id), "state")
        return state is None or JobState(state).final


def check_collection(name: str) -> None:
    """Raise `NotFound` for what cannot be the name of a collection."""
    if not is_collection_name(name):
        raise NotFound(NO_COLLECTION)


def check_document(document_id: str) -> None:
    """Raise `NotFound` for what cannot be the id of a document."""
    if not is_id("doc", document_id):
        raise NotFound(NO_DOCUMENT)


def check_job(job_id: str) -> None:
    """Raise `NotFound` for what cannot be the id of a job."""
    if not is_id("job", job_id):
        raise NotFound(NO_JOB)
