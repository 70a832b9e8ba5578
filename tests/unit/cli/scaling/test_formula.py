from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragline.cli.scaling.formula import Demand, Scaling, Workers, forecast, wanted_workers

DOCUMENT = Scaling(target=2, least=0, most=8, polling_seconds=5, cooldown_seconds=60, scale_in_seconds=60)
RAG = replace(DOCUMENT, least=1, target=16, most=4)


def demand(queued: int = 0, held: int = 0, in_flight: int = 0) -> Demand:
    return Demand(queued=queued, held=held, in_flight=in_flight)


def workers(count: int, ready: int | None = None, idle: float | None = None) -> Workers:
    return Workers(count=count, ready=count if ready is None else ready, idle_seconds=idle)


@pytest.mark.parametrize(
    ("work", "scaling", "current", "wanted"),
    [
        (demand(), DOCUMENT, 0, 0),
        (demand(), DOCUMENT, 3, 0),
        (demand(), RAG, 3, 1),
        (demand(queued=1), DOCUMENT, 0, 1),
        (demand(in_flight=1), DOCUMENT, 1, 1),
        (demand(queued=2, in_flight=1), DOCUMENT, 1, 2),
        (demand(held=1000), DOCUMENT, 1, 8),
        (demand(queued=17), RAG, 1, 1),
        (demand(queued=18), RAG, 1, 2),
        (demand(queued=19), DOCUMENT, 9, 8),
        (demand(queued=1), replace(DOCUMENT, least=3), 3, 3),
    ],
)
def test_the_formula_is_kedas(work: Demand, scaling: Scaling, current: int, wanted: int) -> None:
    assert wanted_workers(work, scaling, current) == wanted


@pytest.mark.parametrize(
    ("work", "scaling", "there", "said"),
    [
        (
            demand(queued=2, in_flight=1),
            DOCUMENT,
            workers(1),
            "2 queued + 1 in flight = 3, target 2: KEDA wants 2 workers, has 1; the second comes within 15 s",
        ),
        (
            demand(),
            DOCUMENT,
            workers(0),
            "asleep; the next message wakes one worker within the polling interval, 5 s",
        ),
        (
            demand(queued=5),
            DOCUMENT,
            workers(0),
            "5 queued + 0 in flight = 5, target 2: asleep; KEDA wakes one worker within 5 s, and the HPA goes on to 3",
        ),
        (
            demand(queued=1),
            DOCUMENT,
            workers(0),
            "1 queued + 0 in flight = 1, target 2: asleep; KEDA wakes one worker within 5 s",
        ),
        (
            demand(queued=16, held=984, in_flight=2),
            DOCUMENT,
            workers(1),
            (
                "16 queued + 984 held + 2 in flight = 1002, target 2: KEDA wants 8 workers (the most), has 1; "
                "4 more come within 15 s"
            ),
        ),
        (
            demand(queued=20),
            DOCUMENT,
            workers(7),
            "20 queued + 0 in flight = 20, target 2: KEDA wants 8 workers (the most), has 7; 1 more comes within 15 s",
        ),
        (
            demand(in_flight=2),
            DOCUMENT,
            workers(3),
            (
                "0 queued + 2 in flight = 2, target 2: KEDA wants 1 worker, has 3; one goes every 60 s, "
                "the first when fewer were wanted for 60 s"
            ),
        ),
        (
            demand(in_flight=2),
            DOCUMENT,
            workers(1, ready=0),
            (
                "0 queued + 2 in flight = 2, target 2: KEDA wants 1 worker, has 1; nothing changes; "
                "1 of 1 is still starting"
            ),
        ),
        (
            demand(),
            DOCUMENT,
            workers(1, idle=17.2),
            "no work; the worker goes in 43 s (cooldown 60 s) unless some comes",
        ),
        (
            demand(),
            DOCUMENT,
            workers(4, idle=400),
            "no work; all 4 workers go in 0 s (cooldown 60 s) unless some comes",
        ),
        (
            demand(),
            DOCUMENT,
            workers(1),
            "no work; the worker goes when the cooldown is over (cooldown 60 s) unless some comes",
        ),
        (demand(), RAG, workers(1), "no work; 1 worker always stays"),
        (demand(), RAG, workers(0), "no work; KEDA starts 1 worker within 5 s, which always stays"),
        (demand(), RAG, workers(3), "no work; one worker goes every 60 s, 1 worker always stays"),
        (
            demand(),
            replace(RAG, least=2),
            workers(2, ready=0),
            "no work; 2 workers always stay; 2 of 2 are still starting",
        ),
    ],
)
def test_what_happens_next_is_one_sentence(work: Demand, scaling: Scaling, there: Workers, said: str) -> None:
    assert forecast(work, scaling, there).next == said


_COUNT = st.integers(0, 10_000)


@given(
    work=st.builds(Demand, queued=_COUNT, held=_COUNT, in_flight=_COUNT),
    least=st.integers(0, 3),
    target=st.integers(1, 50),
    current=st.integers(0, 20),
)
def test_the_bounds_hold_and_work_always_has_a_worker(work: Demand, least: int, target: int, current: int) -> None:
    scaling = replace(DOCUMENT, least=least, target=target)
    wanted = wanted_workers(work, scaling, current)
    assert least <= wanted <= scaling.most
    assert (wanted == 0) == (work.total == 0 and least == 0)
    more = replace(work, queued=work.queued + 1000)
    assert wanted_workers(work, scaling, 0) <= wanted_workers(more, scaling, 0)
    assert forecast(work, scaling, Workers(count=current, ready=current)).wanted == wanted
