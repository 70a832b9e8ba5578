"""What a worker refuses to start with."""

from pathlib import Path

import pytest

from ragline.worker.main import main


def test_a_template_that_would_not_work_ends_the_worker_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    template = tmp_path / "prompt.txt"
    template.write_text("Be brief. {fence} {question}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROMPT_TEMPLATE", str(template))
    monkeypatch.setenv("OBJECT_STORE_URL", f"file://{tmp_path}/objects")

    assert main(["rag"]) == 2
    assert f"PROMPT_TEMPLATE: {template} holds {{question}}" in capsys.readouterr().err
