"""What a question may ask for, and which questions are the same one."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest

from ragline.api.questions import NewQuestion, QuestionSubmission
from ragline.common.config import ApiConfig
from ragline.common.errors import GenerationNotReached, InvalidRequest
from ragline.common.models import Submission
from ragline.common.questions import Question, Turn
from ragline.common.trace_context import TraceContext, new_trace
from ragline.stores.ledger.accepting import AcceptLedger, NewJob

QUESTION = Question(text="How many days of leave?", top_k=3)


@dataclass
class NotingLedger:
    """Accepts everything; reaches a generation after so many looks."""

    looks: Iterator[bool] = field(default_factory=lambda: iter(()))
    accepted: list[NewJob] = field(default_factory=list)

    async def accept_job(self, new: NewJob, _trace: TraceContext) -> Submission:
        self.accepted.append(new)
        return Submission(job_id="job_1")

    async def has_generation(self, _tenant: str, _name: str, _generation: int) -> bool:
        return next(self.looks, False)


def _submit(question: Question = QUESTION, *, ledger: NotingLedger | None = None, **options: Any) -> NewJob:  # noqa: ANN401 - of `NewQuestion`, and of the settings
    ledger = ledger or NotingLedger()
    config = ApiConfig.model_validate(options.pop("settings", {}))
    wait_seconds = options.pop("wait_seconds", 30)
    submission = QuestionSubmission(ledger=cast("AcceptLedger", ledger), config=config, wait_seconds=wait_seconds)
    new = NewQuestion(question=question, tenant="a", collection=options.pop("collection", "papers"), **options)
    asyncio.run(submission.submit(new, new_trace()))
    return ledger.accepted[0]


def _key(question: Question = QUESTION, **options: Any) -> str:  # noqa: ANN401 - as above
    return _submit(question, **options).answer_key


@pytest.mark.parametrize("text", ["How many  days of leave?", " How many days of leave?\n", "How many days of leave?"])
def test_white_space_makes_no_other_question(text: str) -> None:
    assert _key(Question(text=text, top_k=3)) == _key() != ""


@pytest.mark.parametrize(
    "other",
    [
        Question(text="How many days of LEAVE?", top_k=3),
        Question(text=QUESTION.text, top_k=4),
        Question(text=QUESTION.text, top_k=3, model="gpt-4o-mini"),
        Question(text=QUESTION.text, top_k=3, max_tokens=10),
        Question(text=QUESTION.text, top_k=3, filter={"year": {"eq": 2026}}),
        Question(text=QUESTION.text, top_k=3, history=(Turn(role="user", text="In Berlin."),)),
    ],
    ids=["words", "top_k", "model", "max_tokens", "filter", "history"],
)
def test_whatever_shapes_an_answer_makes_another_question(other: Question) -> None:
    assert _key(other) not in {_key(), ""}


def test_another_collection_makes_another_question() -> None:
    assert _key(collection="other") != _key()


@pytest.mark.parametrize(
    "options",
    [
        {"fresh": True},
        {"question": Question(text=QUESTION.text, top_k=3, temperature=0.7)},
        {"settings": {"answer_cache_seconds": 0}},
    ],
    ids=["asked afresh", "chance", "off"],
)
def test_no_answer_is_given_again_to_who_wants_a_new_one(options: dict[str, Any]) -> None:
    assert _key(**options) == ""


def test_an_answer_is_kept_as_long_as_the_settings_say() -> None:
    assert _submit(settings={"answer_cache_seconds": 60}).keep_answer == timedelta(seconds=60)


@pytest.mark.parametrize("model", ["gpt-4o-mini", "large", "small"])
def test_models_that_the_settings_name_may_be_asked(model: str) -> None:
    job = _submit(Question(text="?", top_k=3, model=model), settings={"llm_models": "large, small,"})
    assert job.params["model"] == model


@pytest.mark.parametrize(
    ("question", "pointer"),
    [
        (Question(text="?", top_k=3, model="another"), "/body/model"),
        (Question(text="?", top_k=3, max_tokens=101), "/body/max_tokens"),
    ],
)
def test_what_the_settings_do_not_allow_is_refused_by_name(question: Question, pointer: str) -> None:
    ledger = NotingLedger()
    with pytest.raises(InvalidRequest) as refused:
        _submit(question, ledger=ledger, settings={"max_answer_tokens": 100})
    assert [error["pointer"] for error in refused.value.errors] == [pointer]
    assert ledger.accepted == []


def test_a_generation_is_waited_for() -> None:
    ledger = NotingLedger(looks=iter([False, True]))
    _submit(ledger=ledger, min_generation=3)
    assert len(ledger.accepted) == 1


def test_nobody_waits_for_a_generation_for_ever() -> None:
    ledger = NotingLedger()
    with pytest.raises(GenerationNotReached):
        _submit(ledger=ledger, min_generation=3, wait_seconds=0)
    assert ledger.accepted == []
