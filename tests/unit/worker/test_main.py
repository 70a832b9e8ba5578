"""What a worker refuses to start with."""

import json
from pathlib import Path

import pytest

from ragline.common.logging import configure_logging
from ragline.worker.main import main
from tests.support.logs import logging_as_before


def test_a_template_that_would_not_work_ends_the_worker_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    template = tmp_path / "prompt.txt"
    template.write_text("Be brief. {fence} {question}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROMPT_TEMPLATE", str(template))
    monkeypatch.setenv("OBJECT_STORE_URL", f"file://{tmp_path}/objects")

    with logging_as_before():
        configure_logging(level="INFO", log_format="json")
        assert main(["rag"]) == 2
    said = json.loads(capsys.readouterr().err)
    assert (said["event"], said["level"]) == ("not started", "critical")
    assert said["reason"].startswith(f"PROMPT_TEMPLATE: {template} holds {{question}}")
