"""Work that is accepted at the same time travels to Redis in one piece."""

import asyncio
from collections.abc import Sequence

from ragline.common.errors import EmbeddingSpaceMismatch
from ragline.common.models import Submission
from tests.support.ledger import Ledger, new_document


def _accept_together(ledger: Ledger, names: Sequence[str], **wrong: str) -> list[Submission | BaseException]:
    async def accept() -> list[Submission | BaseException]:
        new = [new_document(name=name, content=name, **(wrong if name == "wrong.pdf" else {})) for name in names]
        calls = [ledger.accepting.accept_document(each, ledger.trace) for each in new]
        return await asyncio.gather(*calls, return_exceptions=True)

    return ledger.run(accept())


def test_what_is_accepted_together_costs_one_round_trip(ledger: Ledger) -> None:
    _accept_together(ledger, ["warm.pdf"])
    before = ledger.client.info("stats")["total_reads_processed"]
    submissions = _accept_together(ledger, [f"{number}.pdf" for number in range(10)])
    # The last read is that of INFO itself; what is long may arrive in two pieces.
    assert ledger.client.info("stats")["total_reads_processed"] - before <= 2 + 1
    generations = [submission.generation for submission in submissions if isinstance(submission, Submission)]
    assert generations == list(range(2, 12))


def test_what_is_refused_leaves_what_came_with_it(ledger: Ledger) -> None:
    _accept_together(ledger, ["first.pdf"])
    before, refused, after = _accept_together(ledger, ["before.pdf", "wrong.pdf", "after.pdf"], space="local/other")
    assert isinstance(refused, EmbeddingSpaceMismatch)
    for submission in (before, after):
        assert isinstance(submission, Submission)
        assert ledger.claim(submission.job_id) is not None
