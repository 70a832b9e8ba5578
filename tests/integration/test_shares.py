"""Two tenants and the same workers: one document does not wait behind two hundred of somebody else's."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx2
import pytest

from ragline.common.constants import TENANT_SHARE
from tests.support import pdfs
from tests.support.keys import client_of, made_key
from tests.support.stack import Stack, running_stack
from tests.support.waiting import wait_until

_MANY = 200

_STEPS = 3
"""Of an ingest; before each of them a job waits behind one share of the other tenant's at most."""


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {"API_KEYS": "static-key-of-the-shares", "ENABLE_AUTH": "true"}
    with running_stack(tmp_path_factory.mktemp("shares"), settings) as running:
        yield running


def _jobs(client: httpx2.Client) -> list[dict[str, Any]]:
    """All ingest jobs of a tenant, once they have ended."""
    documents = client.get("/v1/collections/papers/documents", params={"limit": _MANY}).json()["documents"]
    return [client.get(document["links"]["job"]).json() for document in documents]


def _moment(job: dict[str, Any], name: str) -> datetime:
    return datetime.fromisoformat(job[name])


def _waited(job: dict[str, Any]) -> float:
    return (_moment(job, "finished_at") - _moment(job, "created_at")).total_seconds()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_document_does_not_wait_behind_all_of_another_tenants(stack: Stack) -> None:
    path = "/v1/collections/papers/documents"
    with (
        client_of(stack, made_key(stack, tenant="many")["key"]) as many,
        client_of(stack, made_key(stack, tenant="one")["key"]) as one,
    ):
        for worker in stack.workers.values():
            worker.freeze()
        files = [("file", (f"{number}.pdf", pdfs.text_pdf([f"Paper {number}."]))) for number in range(_MANY)]
        accepted = many.post(f"{path}/batch", files=files).json()["results"]
        assert sum(result["submission"] is not None for result in accepted) == _MANY
        single = one.post(path, files={"file": ("single.pdf", pdfs.text_pdf(["The only paper."]))})
        for worker in stack.workers.values():
            worker.thaw()

        wait_until(lambda: _chunks(one) == 1, timeout_seconds=120, interval_seconds=0.2)
        wait_until(lambda: _chunks(many) == _MANY, timeout_seconds=240, interval_seconds=0.5)
        wait_until(lambda: all(job["finished_at"] for job in _jobs(many)), timeout_seconds=20)
        theirs, ours = one.get(f"/v1/jobs/{single.json()['job_id']}").json(), _jobs(many)

    ahead = sum(_moment(job, "finished_at") < _moment(theirs, "finished_at") for job in ours)
    longest = max(map(_waited, ours))
    print(  # noqa: T201 - figures
        f"{ahead} of {_MANY} were done before the single one, which took {_waited(theirs):.1f} s; "
        f"the last of {_MANY} took {longest:.1f} s"
    )
    assert {job["status"] for job in [theirs, *ours]} == {"succeeded"}
    assert ahead <= (_STEPS + 1) * TENANT_SHARE


def _chunks(client: httpx2.Client) -> int:
    chunks: int = client.get("/v1/collections/papers").json()["chunks"]
    return chunks
