"""The demo's background work."""

from ragline.common.queues import JobKind
from ragline.pipeline.processing import ProcessStep
from ragline.pipeline.protocols import StepDone
from tests.support.steps import World, make_job


def test_a_text_is_normalised_and_counted() -> None:
    control = World().control(job=make_job(JobKind.PROCESS, params={"data": "  some\ttext  here "}))

    outcome = ProcessStep().run(control)

    assert outcome == StepDone(result={"processed": "SOME TEXT HERE", "words": 3, "characters": 18})
