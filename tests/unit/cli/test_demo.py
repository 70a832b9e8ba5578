import json
from pathlib import Path

import pytest

from ragline.cli.demo import SamplesMissing, load_samples
from ragline.cli.replies import Answer, Citation

SAMPLES = Path(__file__).parents[3] / "samples"


def citing(document: str, page: int) -> Answer:
    return Answer(text="26 weeks", citations=(Citation(document=document, page=page, quote="26 weeks"),))


def test_the_samples_of_the_repository_are_good() -> None:
    samples = load_samples(SAMPLES)
    assert len(samples.files) == 3
    assert samples.document in {path.name for path in samples.files}


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
