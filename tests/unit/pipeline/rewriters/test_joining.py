from ragline.common.questions import Question, Turn
from ragline.pipeline.rewriters.joining import JoiningRewriter


def joined(*turns: tuple[str, str], question: str = "And in Spain?") -> str:
    history = tuple(Turn(role=role, text=text) for role, text in turns)
    rewriting = JoiningRewriter().run(Question(text=question, top_k=3, history=history))
    assert rewriting.usage == {}
    return rewriting.text


def test_the_last_two_questions_follow_the_new_one() -> None:
    turns = [("user", "First?"), ("user", "How long is\nleave?"), ("assistant", "26 weeks."), ("user", "For fathers?")]
    assert joined(*turns) == "And in Spain?\nFor fathers?\nHow long is leave?"


def test_answers_are_left_out() -> None:
    assert joined(("assistant", "Hello!")) == "And in Spain?"


def test_long_turns_do_not_drown_the_question() -> None:
    text = joined(("user", "word " * 500), ("user", "other " * 500))
    assert text.startswith("And in Spain?\nother ")
    assert len(text) < 700
