"""Documents that have something left behind which does not count: each is cleaned, whatever goes wrong on the way."""

import pytest
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError

from ragline.common.errors import Conflict, TransientError
from ragline.common.models import JobRecord
from ragline.common.queues import JobKind, Queue
from ragline.stores.ledger.keys import document_key, littered_key
from tests.support.ledger import Ledger, message_ids


def _littered(ledger: Ledger, number: int) -> str:
    """A document whose upload was cancelled."""
    submission = ledger.upload(name=f"{number}.pdf")
    ledger.run(ledger.accepting.cancel("default", submission.job_id))
    assert submission.document_id is not None
    return submission.document_id


def _cleaning(ledger: Ledger) -> list[JobRecord]:
    jobs = [ledger.job(job_id) for job_id in message_ids(ledger.client, Queue.VECTORSTORE)]
    return [job for job in jobs if job.kind is JobKind.CLEAN]


def test_each_littered_document_is_cleaned_once(ledger: Ledger) -> None:
    documents = {_littered(ledger, number) for number in range(3)}
    assert ledger.littered() == documents
    ledger.run(ledger.accepting.queue_cleaning(sorted(documents)))
    assert ledger.littered() == set()
    assert sorted(job.document_id for job in _cleaning(ledger)) == sorted(documents)


def test_who_breaks_off_forgets_none(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = sorted(_littered(ledger, number) for number in range(3))
    read = redis.asyncio.Redis.hgetall

    async def breaks_off(client: "redis.asyncio.Redis", key: str) -> dict[str, str]:
        if key == document_key(documents[1]):
            raise RedisConnectionError
        row: dict[str, str] = await read(client, key)  # type: ignore[misc] # redis-py's types
        return row

    monkeypatch.setattr(redis.asyncio.Redis, "hgetall", breaks_off)
    with pytest.raises(TransientError):
        ledger.run(ledger.accepting.queue_cleaning(documents))
    monkeypatch.undo()
    assert ledger.littered() == {*documents[1:]}


def test_what_a_failed_delete_leaves_is_cleaned(ledger: Ledger) -> None:
    document_id = str(ledger.upload().document_id)
    ledger.working.fail(ledger.start(ledger.delete(document_id).job_id), Conflict("broken"))
    assert ledger.littered() == {document_id}


def test_a_document_that_is_gone_needs_no_cleaning(ledger: Ledger) -> None:
    ledger.client.sadd(littered_key(), "doc_gone")
    assert ledger.littered() == {"doc_gone"}
    ledger.run(ledger.accepting.queue_cleaning(["doc_gone"]))
    assert ledger.littered() == set()
    assert _cleaning(ledger) == []
