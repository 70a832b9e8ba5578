import pytest

from ragline.cli.wording import counted, lasting


@pytest.mark.parametrize(("number", "said"), [(0, "0 jobs"), (1, "1 job"), (2, "2 jobs")])
def test_things_are_counted(number: int, said: str) -> None:
    assert counted(number, "job") == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0 s"),
        (0, "0 s"),
        (0.0402, "40 ms"),
        (1, "1.0 s"),
        (9.94, "9.9 s"),
        (10, "10 s"),
        (119.4, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (172_800, "2 d"),
    ],
)
def test_a_time_is_as_precise_as_somebody_needs_who_waits(seconds: float, said: str) -> None:
    assert lasting(seconds) == said
