"""A question survives its way through a job record."""

import orjson

from ragline.common.questions import Question, Turn

FULL = Question(
    text="And in Berlin?",
    top_k=5,
    history=(Turn(role="user", text="How many offices are there?"), Turn(role="assistant", text="Two [1].")),
    filter={"year": {"gte": 2024}},
    model="another",
    temperature=0.5,
    max_tokens=100,
)


def test_round_trip_through_json() -> None:
    assert Question.from_params(orjson.loads(orjson.dumps(FULL.to_params()))) == FULL


def test_a_job_of_an_older_release_has_defaults() -> None:
    assert Question.from_params({"question": "How?", "top_k": 3}) == Question(text="How?", top_k=3)
