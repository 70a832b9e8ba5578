"""The converter stops, goes on and falls back as it should, whatever happens to the processes it starts."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from ragline.common import errors
from ragline.common.models import Page
from ragline.pipeline.converters import pdf, pdf_child
from ragline.pipeline.converters.pdf import Carry, ConvertedPages, Engine
from tests.support import pdfs
from tests.support.parsers import children_of, converter, never, poll
from tests.support.waiting import wait_until

Plans = Mapping[str, Sequence[object]]
ActOut = Callable[[Plans], Path]
Save = Callable[[bytes], Path]

ENGINES: tuple[Engine, ...] = ("pdfium", "pypdf")

FAKE_CHILD = """
import json, os, sys, time
request = json.loads(sys.argv[1])
plans = json.load(open(request["path"]))
for action in plans[f"{request['engine']}@{request['first_page']}"]:
    if action == "die":
        os.kill(os.getpid(), 9)
    elif action == "hang":
        time.sleep(60)
    elif action == "babble":
        while True:
            os.write(2, b"warning " * 1000)
    else:
        os.write(1, action.encode() if isinstance(action, str) else json.dumps(action).encode() + b"\\n")
"""

MALFORMED = {"error": "malformed_pdf", "detail": "made up"}
END = {"cpu_seconds": 0.1}


def frame(number: int) -> dict[str, object]:
    return {"number": number, "text": f"text {number}"}


def signal_children(number: signal.Signals, sent: list[int]) -> Callable[[], None]:
    """Send each new child the signal."""

    def act() -> None:
        for pid in set(children_of("self")) - set(sent):
            os.kill(pid, number)
            sent.append(pid)

    return act


@pytest.fixture
def act_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ActOut:
    """Children follow a script: what "engine@first page" writes and does."""
    script = tmp_path / "fake_child.py"
    script.write_text(FAKE_CHILD, encoding="utf-8")
    monkeypatch.setattr(pdf_child, "__file__", str(script))

    def write(plans: Plans) -> Path:
        path = tmp_path / "plans.json"
        path.write_text(json.dumps(plans), encoding="utf-8")
        return path

    return write


def test_a_missing_file_is_not_a_fault_of_the_document(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        converter().run(tmp_path / "none.pdf", should_stop=never)


@pytest.mark.parametrize("engine", ENGINES)
def test_runs_that_are_stopped_add_up_to_one(engine: Engine, save: Save) -> None:
    path = save(pdfs.long_text_pdf({"pdfium": 300, "pypdf": 60}[engine], seed=3))
    whole = converter(engine).run(path, should_stop=never)
    pages: list[Page] = []
    result: ConvertedPages | None = None
    runs = 0
    while result is None or result.next_page:
        runs += 1
        stop_at = time.monotonic() + 0.1 * runs  # ever longer, so that it ends on a slow machine too
        pages_before = len(pages)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pdf, "_POLL_SECONDS", 0.01)
            result = converter(engine).run(
                path,
                first_page=pages_before + 1,
                should_stop=lambda: time.monotonic() > stop_at,  # noqa: B023 - used in this turn only
                carry=result.carry if result else Carry(),
            )
        pages += result.pages
        assert result.next_page in {None, len(pages) + 1}
        assert result.carry.engine == engine
    assert runs > 1
    assert pages == whole.pages
    assert result.carry.text_bytes == whole.carry.text_bytes


def test_a_run_that_may_not_begin_starts_no_process(save: Save) -> None:
    result = converter().run(save(pdfs.text_pdf(["a"])), first_page=1, should_stop=lambda: True)
    assert (result.pages, result.next_page, result.carry.cpu_seconds) == ([], 1, 0)


def test_the_other_parser_takes_over_from_a_killed_one(save: Save) -> None:
    sent: list[int] = []
    kill_first = signal_children(signal.SIGKILL, sent)
    result = converter(cpu_seconds=20).run(
        save(pdfs.operator_bomb_pdf()), should_stop=poll(lambda: None if sent else kill_first(), stop_after=4)
    )
    assert len(sent) == 1
    assert result.engine == "pypdf"
    assert [page.number for page in result.pages] == list(range(1, len(result.pages) + 1))
    assert result.next_page == len(result.pages) + 1


def test_parsers_that_hang_are_killed(save: Save) -> None:
    sent: list[int] = []
    started_at = time.monotonic()
    with pytest.raises(errors.ParserTimeout, match="no page came"):
        converter(cpu_seconds=20, silence_seconds=0.5).run(
            save(pdfs.operator_bomb_pdf()), should_stop=poll(signal_children(signal.SIGSTOP, sent))
        )
    assert len(sent) >= 2
    assert time.monotonic() - started_at < 10


def test_an_exception_in_the_caller_kills_the_child(save: Save) -> None:
    def interrupt() -> None:
        if children_of("self"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        converter(cpu_seconds=20).run(save(pdfs.operator_bomb_pdf()), should_stop=poll(interrupt))


def test_the_child_dies_with_its_parent(save: Save) -> None:
    code = (
        "import sys; from pathlib import Path; from ragline.pipeline.converters.pdf import PdfConverter\n"
        "PdfConverter(engine='pdfium', max_pages=5000, max_text_bytes=2**20, memory_bytes=2**28)"
        ".run(Path(sys.argv[1]), should_stop=lambda: False)"
    )
    path = save(pdfs.operator_bomb_pdf())
    search_path = os.pathsep.join(entry for entry in sys.path if entry)
    parent = subprocess.Popen([sys.executable, "-c", code, str(path)], env={**os.environ, "PYTHONPATH": search_path})
    try:
        wait_until(lambda: any(has_open(child, path) for child in children_of(parent.pid)), timeout_seconds=20)
        (child,) = children_of(parent.pid)
        os.kill(child, signal.SIGSTOP)  # so that it cannot notice that nobody reads what it writes
    finally:
        parent.kill()
        parent.wait()
    try:
        wait_until(lambda: not is_alive(child), timeout_seconds=5)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def has_open(pid: int, path: Path) -> bool:
    try:
        return any(descriptor.readlink() == path for descriptor in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:  # it is closing them just now
        return False


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_the_child_sees_no_secret(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    seen: list[str] = []

    def look() -> None:
        seen.extend(Path(f"/proc/{pid}/environ").read_text(encoding="utf-8") for pid in children_of("self"))

    converter(cpu_seconds=20).run(save(pdfs.operator_bomb_pdf()), should_stop=poll(look, stop_after=1))
    assert seen
    assert "PATH=" in seen[0]
    assert not any("sk-secret" in environment for environment in seen)


FAILURES: dict[str, Sequence[object]] = {
    "malformed": [MALFORMED],
    "crash": ["die"],
    "memory": [{"error": "out_of_memory", "detail": ""}],
    "time": ["hang"],
}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("malformed", "malformed", errors.MalformedPdf),
        ("malformed", "crash", errors.ParserCrashed),
        ("crash", "malformed", errors.ParserCrashed),
        ("memory", "memory", errors.ParserCrashed),
        ("time", "malformed", errors.ParserTimeout),
        ("crash", "time", errors.ParserTimeout),
    ],
)
def test_the_worst_failure_names_the_outcome(
    first: str,
    second: str,
    expected: type[errors.DocumentError],
    act_out: ActOut,
) -> None:
    path = act_out({"pdfium@1": FAILURES[first], "pypdf@1": FAILURES[second]})
    with pytest.raises(expected) as raised:
        converter(silence_seconds=0.2).run(path, should_stop=never)
    assert "pdfium at page 1" in raised.value.detail
    assert "pypdf at page 1" in raised.value.detail


def test_each_parser_reads_what_the_other_one_cannot(
    act_out: ActOut,
) -> None:
    plans = {
        "pdfium@1": [{"pages": 4}, frame(1), "die"],
        "pypdf@2": [{"pages": 4}, frame(2), MALFORMED],
        "pdfium@3": [{"pages": 4}, frame(3), frame(4), END],
    }
    result = converter().run(act_out(plans), should_stop=never)
    assert [page.text for page in result.pages] == ["text 1", "text 2", "text 3", "text 4"]
    assert (result.engine, result.next_page) == ("pdfium", None)


def test_three_processes_are_the_most(act_out: ActOut) -> None:
    plans = {
        "pdfium@1": [{"pages": 9}, frame(1), "die"],
        "pypdf@2": [{"pages": 9}, frame(2), MALFORMED],
        "pdfium@3": [{"pages": 9}, frame(3), "die"],
    }
    with pytest.raises(errors.ParserCrashed):
        converter().run(act_out(plans), should_stop=never)


def test_parsers_that_count_pages_differently_lose_none(
    act_out: ActOut,
) -> None:
    plans = {"pdfium@1": [{"pages": 9}, frame(1), "die"], "pypdf@2": [{"pages": 1}, END]}
    with pytest.raises(errors.ParserCrashed):
        converter().run(act_out(plans), should_stop=never)


def test_the_next_run_begins_with_the_other_parser_after_a_slow_page(
    act_out: ActOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdf, "_SLOW_PAGE_SECONDS", 0.2)
    path = act_out({"pdfium@1": [{"pages": 2}, frame(1), "hang"], "pypdf@2": [{"pages": 2}, frame(2), END]})
    first = converter().run(path, should_stop=poll(lambda: None, stop_after=3))
    assert (first.next_page, first.carry.engine) == (2, "pypdf")
    second = converter().run(path, first_page=2, should_stop=never, carry=first.carry)
    assert [page.text for page in second.pages] == ["text 2"]
    assert second.engine == "pypdf"


@pytest.mark.parametrize(
    "actions",
    [
        [],
        ["no json\n"],
        ["[" * 100_000 + "\n"],
        [{"pages": "two"}],
        [frame(1), {"pages": 1}, END],
        [{"pages": 2}, frame(2), frame(1), END],
        [{"pages": 2}, frame(1), END],
        [{"pages": 1}, frame(1), frame(2), END],
        [{"pages": 1}, "x" * 2_200_000],
        [{"pages": 1}, {"number": 1, "text": "\ud800"}, END],
    ],
    ids=[
        "nothing",
        "no json",
        "deep",
        "type",
        "order",
        "page order",
        "early end",
        "extra page",
        "long line",
        "surrogate",
    ],
)
def test_a_child_in_an_attackers_hands_is_not_believed(actions: Sequence[object], act_out: ActOut) -> None:
    with pytest.raises(errors.ParserCrashed):
        converter().run(act_out({"pdfium@1": actions, "pypdf@1": actions}), should_stop=never)


def test_a_child_that_only_complains_is_killed(act_out: ActOut) -> None:
    with pytest.raises(errors.ParserTimeout):
        converter(silence_seconds=0.3).run(act_out({"pdfium@1": ["babble"], "pypdf@1": [MALFORMED]}), should_stop=never)


def test_more_than_the_child_should_send_is_refused(
    act_out: ActOut,
) -> None:
    path = act_out({"pdfium@1": [{"pages": 1}, frame(1), END]})
    with pytest.raises(errors.TooLarge):
        converter(max_text_bytes=5).run(path, should_stop=never)
    with pytest.raises(errors.TooManyPages):
        converter(max_pages=0).run(path, should_stop=never)
