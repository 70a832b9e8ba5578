"""What the scripts count is declared, and what is declared as counted by them, they count."""

import re
from importlib.resources import files

from ragline.common.metric_types import Kind, Source
from ragline.common.metrics import METRICS
from ragline.stores.ledger.scripts import script_source

_CALLS = re.compile(r"\b(count|observe)\('(\w+)'")


def test_scripts_count_what_is_declared_as_theirs() -> None:
    sources = [path for path in (files("ragline.stores.ledger") / "lua").iterdir() if path.name.endswith(".lua")]
    calls = [call for path in sources for call in _CALLS.findall(path.read_text())]
    declared = {metric.key: metric for metric in METRICS if metric.source is Source.LEDGER}
    assert {key for _, key in calls} == declared.keys()
    for function, key in calls:
        assert (function == "observe") == (declared[key].kind is Kind.HISTOGRAM), key


def test_scripts_know_the_buckets_that_are_declared() -> None:
    [line] = [line for line in script_source("claim").splitlines() if line.startswith("local BUCKETS")]
    for metric in METRICS:
        table = f"{metric.key} = {{ {', '.join(map(str, metric.limits))} }}"
        assert (table in line) == (metric.kind is Kind.HISTOGRAM and metric.source is Source.LEDGER)
