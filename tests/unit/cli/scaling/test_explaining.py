import io

import pytest
from rich.console import Console

from ragline.cli.queue_readings import QueueReading
from ragline.cli.scaling.cluster import QueueInCluster
from ragline.cli.scaling.explaining import (
    Explanation,
    explain_cluster,
    explain_laptop,
    explain_ledger,
    explanation_json,
    print_explanation,
)
from ragline.cli.scaling.formula import Scaling, Workers

SCALING = Scaling(target=2, least=0, most=8, polling_seconds=5, cooldown_seconds=60, scale_in_seconds=60)


def reading(waiting: int = 0, held: int | None = 0, in_flight: int = 0, *workers: str) -> QueueReading:
    return QueueReading(
        name="document", waiting=waiting, held=held, in_flight=in_flight, workers=workers, oldest_seconds=None
    )


def in_cluster(one: QueueReading, **fields: object) -> Explanation:
    known = {"workers": Workers(count=1, ready=1), "scaling": SCALING, **fields}
    (explanation,) = explain_cluster([one], {"document": QueueInCluster(**known)})  # type: ignore[arg-type]
    return explanation


def test_keda_is_explained_by_the_formula() -> None:
    explanation = in_cluster(reading(5, 3, 1, "document@one"), decisions=("3 s ago Scaled: to 1",))
    assert explanation.wanted == 3
    assert explanation.next.startswith("2 queued + 3 held + 1 in flight = 6, target 2: KEDA wants 3 workers, has 1;")
    written = explanation_json(explanation)
    assert {key: written[key] for key in ("queued", "held", "in_flight", "total", "workers", "workers_wanted")} == {
        "queued": 2,
        "held": 3,
        "in_flight": 1,
        "total": 6,
        "workers": 1,
        "workers_wanted": 3,
    }
    console = Console(width=80, file=io.StringIO())
    print_explanation(explanation, console)
    output = console.file
    assert isinstance(output, io.StringIO)
    lines = output.getvalue().splitlines()
    assert lines[0] == f"document: {explanation.next}"
    assert lines[1] == "  workers alive: document@one"
    assert "triggers: queued 2, held 3, in flight 1; target 2 a worker, 0 to 8 workers" in lines[2]
    assert lines[3] == "  3 s ago Scaled: to 1"


def test_what_blocks_keda_is_said_instead() -> None:
    explanation = in_cluster(reading(5), blocked="somebody paused it at 0")
    assert explanation.next == "5 queued + 0 in flight = 5, and 1 worker: somebody paused it at 0"
    assert explanation.wanted == 3


def test_without_keda_something_else_decides() -> None:
    explanation = in_cluster(reading(5), scaling=None, otherwise="a fixed number of workers")
    assert explanation.next == "5 queued + 0 in flight = 5; a fixed number of workers (1 of them, 1 ready)"
    assert explanation.wanted is None


def test_a_release_without_the_queue_asks_for_its_name() -> None:
    (explanation,) = explain_cluster([reading(1)], {})
    assert "is --release right?" in explanation.next


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (reading(0, 0, 0, "d@a"), "no work; one worker, never scaled: `ragline up` runs one of each queue"),
        (reading(2, None, 1, "d@a"), "2 queued + 1 in flight = 3; one worker, never scaled"),
        (reading(2), "frozen or cannot reach Redis: see worker-document.log"),
    ],
)
def test_a_laptop_never_scales(one: QueueReading, said: str) -> None:
    assert said in explain_laptop([one])[0].next


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (reading(2, 0, 1, "d@a"), "2 queued + 1 in flight = 3; 1 worker is alive; KEDA adds workers by this sum"),
        (reading(2), "no worker is alive: KEDA wakes one at its next look"),
        (reading(), "0 queued + 0 in flight = 0; 0 workers are alive"),
    ],
)
def test_the_ledger_alone_still_says_what_it_counts(one: QueueReading, said: str) -> None:
    assert said in explain_ledger([one])[0].next
