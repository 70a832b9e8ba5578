import json
from pathlib import Path

import pytest

from ragline.cli.demo import KeyMissing, SamplesMissing, demo_key, load_samples
from ragline.cli.replies import Answer, Citation
from ragline.cli.supervisor.plan import load_settings

SAMPLES = Path(__file__).parents[3] / "samples"


def citing(document: str, page: int) -> Answer:
    return Answer(text="26 weeks", citations=(Citation(document=document, page=page, quote="26 weeks"),))


def test_the_samples_of_the_repository_are_good() -> None:
    samples = load_samples(SAMPLES)
    assert len(samples.files) == 3
    assert samples.document in {path.name for path in samples.files}


@pytest.mark.parametrize(
    ("settings", "given", "used"),
    [
        ({}, "rk_mine", None),
        ({"ENABLE_AUTH": "true"}, "rk_mine", "rk_mine"),
        ({"ENABLE_AUTH": "true", "API_KEYS": "one, two"}, "rk_mine", "one"),
    ],
)
def test_the_demo_has_a_key_where_it_needs_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: dict[str, str], given: str, used: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {**settings, "RAGLINE_API_KEY": given}.items():
        monkeypatch.setenv(name, value)
    assert demo_key(load_settings(tmp_path)) == used


def test_a_demo_without_a_key_is_refused_before_it_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENABLE_AUTH", "true")
    monkeypatch.delenv("RAGLINE_API_KEY", raising=False)
    with pytest.raises(KeyMissing, match="RAGLINE_API_KEY"):
        demo_key(load_settings(tmp_path))


def test_the_first_citation_decides() -> None:
    samples = load_samples(SAMPLES)
    right = citing(samples.document, samples.page)
    wrong = citing(samples.document, samples.page + 1)
    assert samples.answered_by(right)
    assert not samples.answered_by(wrong)
    assert not samples.answered_by(Answer(text="", citations=wrong.citations + right.citations))
    assert not samples.answered_by(Answer(text="", citations=()))


@pytest.mark.parametrize("questions", ["[]", "{}", "not json", '[{"question": "?"}]'])
def test_spoiled_questions_are_said_plainly(tmp_path: Path, questions: str) -> None:
    (tmp_path / "questions.json").write_text(questions)
    with pytest.raises(SamplesMissing, match=r"questions\.json"):
        load_samples(tmp_path)


def test_a_folder_without_documents_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "questions.json").write_text(json.dumps([{"question": "?", "document": "a.pdf", "page": 1}]))
    with pytest.raises(SamplesMissing, match="no PDF"):
        load_samples(tmp_path)
