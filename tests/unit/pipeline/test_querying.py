"""Question to cited answer: what its readers are told, and in which order."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ragline.common.errors import EmbeddingSpaceMismatch, NotFound, TransientError
from ragline.common.models import Answer, Citation, CollectionRecord, DocumentState, Passage
from ragline.common.questions import Question
from ragline.common.queues import JobKind
from ragline.pipeline import querying
from ragline.pipeline.generators.extractive import ExtractiveGenerator
from ragline.pipeline.protocols import Rewriting, StepDone
from ragline.pipeline.querying import AnswerStep, TokenWriter
from ragline.pipeline.retrievers.dense import DenseRetriever
from ragline.pipeline.visibility import VisibleDocuments
from ragline.stores.ledger.claims import ClaimLost
from ragline.stores.ledger.working import KeptAnswer
from tests.support.passages import make_passage
from tests.support.steps import COLLECTION, TENANT, ScriptedControl, World, make_document, make_job

QUESTION = "How long is the leave?"
PASSAGE = make_passage("Each parent gets 26 weeks of leave.", page=19)
CITATION = Citation(
    document_id="doc_1", document="handbook.pdf", page=19, start=0, end=35, chunk_id="c1", quote=PASSAGE.text
)
ANSWER = Answer(text="26 weeks [1].", answered=True, citations=(CITATION,), usage={"prompt_tokens": 7})
REWRITING = Rewriting(text="How long is the leave of fathers?", usage={"prompt_tokens": 5, "completion_tokens": 2})


@dataclass
class FoundPassages:
    """A retriever that finds what it is told to."""

    passages: Sequence[Passage] = (PASSAGE,)
    asked: list[tuple[Question, CollectionRecord]] = field(default_factory=list)

    def run(self, *, question: Question, collection: CollectionRecord) -> list[Passage]:
        self.asked.append((question, collection))
        return list(self.passages)


@dataclass
class WrittenAnswer:
    """A generator that says its pieces and then answers, or fails."""

    pieces: Sequence[str] = ("26 weeks", " [1].")
    answer: Answer | Exception = ANSWER
    said: list[str] = field(default_factory=list)
    asked: list[Question] = field(default_factory=list)
    fingerprint: str = "scripted"
    asks_model: bool = True

    def run(self, *, question: Question, passages: Sequence[Passage], on_token: Callable[[str], None]) -> Answer:
        self.asked.append(question)
        for piece in self.pieces:
            on_token(piece)
            self.said.append(piece)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@dataclass
class Rewritten:
    """A rewriter that knows the result."""

    rewriting: Rewriting | Exception = REWRITING
    asked: list[Question] = field(default_factory=list)

    def run(self, question: Question) -> Rewriting:
        self.asked.append(question)
        if isinstance(self.rewriting, Exception):
            raise self.rewriting
        return self.rewriting


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Time that stands still until it is told to go on."""
    stopped = SimpleNamespace(now=100.0)
    monkeypatch.setattr(querying, "time", SimpleNamespace(monotonic=lambda: stopped.now))
    return stopped


def _control(world: World, **script: Any) -> ScriptedControl:  # noqa: ANN401 - of `ScriptedControl`
    return world.control(job=make_job(JobKind.QUERY, params={"question": QUESTION, "top_k": 3}), **script)


def _answer(*args: Any, **parts: Any) -> dict[str, Any]:  # noqa: ANN401 - of `_outcome`
    result: dict[str, Any] = _outcome(*args, **parts).result
    return result


def _outcome(
    world: World,
    control: ScriptedControl,
    generator: WrittenAnswer | None = None,
    retriever: FoundPassages | None = None,
    rewriter: Rewritten | None = None,
) -> StepDone:
    step = AnswerStep(
        ledger=world.work_ledger,
        rewriter=rewriter or Rewritten(),
        retriever=retriever or FoundPassages(),
        generator=generator or WrittenAnswer(),
    )
    outcome = step.run(control)
    assert isinstance(outcome, StepDone)
    return outcome


def test_tokens_come_first_then_citations_then_usage(world: World) -> None:
    control = _control(world)

    result = _answer(world, control)

    kinds = [kind for kind, _ in control.events]
    assert kinds == ["token"] * (len(kinds) - 2) + ["citation", "usage"]
    assert "".join(data["text"] for kind, data in control.events if kind == "token") == "26 weeks [1]."
    assert control.events[-2:] == [("citation", asdict(CITATION)), ("usage", {"prompt_tokens": 7})]
    assert result == {
        "answer": "26 weeks [1].",
        "answered": True,
        "citations": [asdict(CITATION)],
        "truncated": False,
        "usage": {"prompt_tokens": 7},
        "generation": COLLECTION.generation,
        "pending_documents": 0,
    }


def test_the_retriever_is_asked_what_the_job_says(world: World) -> None:
    retriever = FoundPassages()
    _answer(world, _control(world), retriever=retriever)

    assert retriever.asked == [(Question(text=QUESTION, top_k=3), COLLECTION)]


def test_all_that_shapes_an_answer_reaches_those_who_need_it(world: World) -> None:
    params: dict[str, Any] = {"filter": {"year": 2026}, "model": "other", "temperature": 0.5, "max_tokens": 9}
    job = make_job(JobKind.QUERY, params={"question": QUESTION, "top_k": 3, **params})
    retriever, generator = FoundPassages(), WrittenAnswer(answer=replace(ANSWER, truncated=True))

    result = _answer(world, world.control(job=job), generator, retriever)

    assert [asked for asked, _ in retriever.asked] == generator.asked == [Question(text=QUESTION, top_k=3, **params)]
    assert result["truncated"]


def test_a_question_without_history_is_not_rewritten(world: World) -> None:
    rewriter = Rewritten()
    _answer(world, _control(world), rewriter=rewriter)

    assert rewriter.asked == []


def test_a_question_with_history_is_found_and_answered_as_rewritten(world: World) -> None:
    history = [{"role": "user", "text": "What about fathers?"}, {"role": "assistant", "text": "They are welcome."}]
    job = make_job(JobKind.QUERY, params={"question": QUESTION, "top_k": 3, "history": history})
    control, rewriter, retriever, generator = world.control(job=job), Rewritten(), FoundPassages(), WrittenAnswer()

    result = _answer(world, control, generator, retriever, rewriter)

    assert [(asked.text, len(asked.history)) for asked in rewriter.asked] == [(QUESTION, 2)]
    alone = Question(text=REWRITING.text, top_k=3)
    assert [asked for asked, _ in retriever.asked] == generator.asked == [alone]
    assert result["usage"] == {"prompt_tokens": 12, "completion_tokens": 2}
    assert control.events[-1] == ("usage", result["usage"])


def test_a_rewriter_that_is_away_is_waited_for(world: World) -> None:
    job = make_job(
        JobKind.QUERY, params={"question": QUESTION, "top_k": 3, "history": [{"role": "user", "text": "Fathers?"}]}
    )
    retriever = FoundPassages()

    with pytest.raises(TransientError):
        _answer(
            world,
            world.control(job=job),
            retriever=retriever,
            rewriter=Rewritten(TransientError("openai", "rewrite", "HTTP 503")),
        )
    assert retriever.asked == []


def test_an_answer_without_usage_and_citations_has_no_such_events(world: World) -> None:
    control = _control(world)
    nothing = Answer(text="The documents hold no answer.", answered=False)

    result = _answer(world, control, WrittenAnswer(("The documents hold no answer.",), nothing))

    assert [kind for kind, _ in control.events] == ["token"]
    assert (result["answered"], result["citations"], result["usage"]) == (False, [], {})


def test_an_answer_is_kept_with_what_it_rests_on(world: World) -> None:
    assert _outcome(world, _control(world)).kept == KeptAnswer(
        generation=COLLECTION.generation,
        profile="scripted",
        events=[
            ("token", {"text": ANSWER.text}),
            ("citation", asdict(CITATION)),
            ("usage", {"prompt_tokens": 7}),
        ],
    )


def test_no_answer_is_not_kept(world: World) -> None:
    nothing = Answer(text="The documents hold no answer.", answered=False)
    assert _outcome(world, _control(world), WrittenAnswer((), nothing)).kept is None


def test_no_answer_tells_of_documents_that_may_hold_it(world: World) -> None:
    nothing = Answer(text="The documents hold no answer.", answered=False)
    for number, state in enumerate([DocumentState.INDEXING, DocumentState.ACCEPTED, DocumentState.FAILED]):
        world.ledger.records[f"doc_{number}"] = make_document(id=f"doc_{number}", state=state)

    result = _answer(world, _control(world), WrittenAnswer((), nothing))

    assert result["pending_documents"] == 2


def test_a_collection_that_went_away_is_not_found(world: World) -> None:
    world.ledger.collections.clear()

    with pytest.raises(NotFound):
        _answer(world, _control(world))


LONG = WrittenAnswer(pieces=["26 weeks ", "of leave, "], answer=TransientError("openai", "generate", "broke off"))


@pytest.mark.parametrize(
    ("generator", "tokens"),
    [
        # 57 characters of question and passage were read, 19 were written: 4 make a token.
        (LONG, 19),
        (WrittenAnswer(pieces=[], answer=TransientError("openai", "generate", "ConnectError")), 0),
        (replace(LONG, asks_model=False), 0),
    ],
    ids=["broke-off", "never-came", "extracts"],
)
def test_an_answer_that_breaks_off_is_charged_what_it_must_have_used(
    world: World, generator: WrittenAnswer, tokens: int
) -> None:
    with pytest.raises(TransientError):
        _answer(world, _control(world), generator)
    spent = [what for verb, what in world.journal if verb == "spend"]
    assert spent == ([(TENANT, tokens)] if tokens else [])


def test_a_reader_who_leaves_pays_for_what_was_read_and_written(world: World) -> None:
    with pytest.raises(ClaimLost):
        _answer(world, _control(world, lost_at=1), LONG)
    assert ("spend", (TENANT, 17)) in world.journal


def test_a_lost_claim_stops_the_model_and_says_nothing_more(world: World, clock: SimpleNamespace) -> None:
    control = _control(world, lost_at=1)
    generator = WrittenAnswer()

    with pytest.raises(ClaimLost):
        _answer(world, control, generator)
    assert (generator.said, control.events) == ([], [])
    assert clock.now == 100.0


def test_a_model_that_fails_cites_nothing(world: World) -> None:
    control = _control(world)

    with pytest.raises(TransientError):
        _answer(world, control, WrittenAnswer(("26 ",), TransientError("openai", "chat", "broke off")))
    assert [kind for kind, _ in control.events] == ["token"]


def test_real_parts_cite_the_passage_they_quote(world: World) -> None:
    world.ingest(["The vault is blue.", "Parental leave lasts 26 weeks.", "How long is a piece of string?"])
    retriever = DenseRetriever(
        embedder=world.embedder,
        vectors=world.vectors,
        documents=VisibleDocuments(ledger=world.work_ledger, files=world.files),
    )
    step = AnswerStep(
        ledger=world.work_ledger,
        rewriter=Rewritten(),
        retriever=retriever,
        generator=ExtractiveGenerator(embedder=world.embedder),
    )
    question = "How many weeks does parental leave last?"
    job = make_job(JobKind.QUERY, params={"question": question, "top_k": 1})

    outcome = step.run(world.control(job=job))

    assert isinstance(outcome, StepDone)
    [citation] = outcome.result["citations"]
    assert (citation["page"], citation["quote"]) == (2, "Parental leave lasts 26 weeks.")


def test_another_embedding_space_is_refused(world: World) -> None:
    retriever = DenseRetriever(
        embedder=type(world.embedder)(space="test/other"),
        vectors=world.vectors,
        documents=VisibleDocuments(ledger=world.work_ledger, files=world.files),
    )

    with pytest.raises(EmbeddingSpaceMismatch):
        _answer(world, _control(world), retriever=cast("FoundPassages", retriever))


def test_the_first_piece_is_written_at_once_and_the_rest_in_batches(clock: SimpleNamespace) -> None:
    sent: list[str] = []
    writer = TokenWriter(sent.append, interval=timedelta(milliseconds=50))

    for piece in ("a", "b", "c"):
        writer.write(piece)
    assert sent == ["a"]
    clock.now += 0.049
    writer.write("d")
    assert sent == ["a"]
    clock.now += 0.002
    writer.write("e")
    assert sent == ["a", "bcde"]


def test_a_flush_writes_what_waits_and_nothing_else(clock: SimpleNamespace) -> None:
    sent: list[str] = []
    writer = TokenWriter(sent.append)

    writer.flush()
    assert sent == []
    clock.now += 1
    writer.write("a")
    writer.write("b")
    writer.flush()
    writer.flush()
    assert sent == ["a", "b"]


def test_what_the_receiver_raises_reaches_the_generator(clock: SimpleNamespace) -> None:
    def lost(_: str) -> None:
        clock.now += 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        TokenWriter(lost).write("a")
