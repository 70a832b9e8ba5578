from dataclasses import replace

from ragline.cli.traces.spans import Span, ends, in_order


def span(own: str, parent: str = "", *, start: int = 0, end: int = 10) -> Span:
    return Span(trace_id="t", span_id=own, parent_id=parent, name=own, start_us=start, end_us=end)


def shown(*spans: Span) -> list[str]:
    return ["." * placed.depth + placed.span.name for placed in in_order(spans)]


def test_children_stand_below_their_parent_and_by_time() -> None:
    spans = (span("c", "a", start=5), span("a"), span("b", "a", start=1), span("d", "b", start=2))
    assert shown(*spans) == ["a", ".b", "..d", ".c"]


def test_of_two_that_begin_together_the_longer_one_is_first() -> None:
    assert shown(span("short", end=5), span("long", end=50)) == ["long", "short"]


def test_a_span_without_its_parent_is_a_first_one() -> None:
    assert shown(span("b", "not here", start=5), span("a")) == ["a", "b"]


def test_each_is_shown_once_though_parents_go_in_a_circle() -> None:
    assert shown(span("a", "b"), span("b", "a", start=1), span("self", "self", start=2)) == ["a", ".b", "self"]


def test_a_deep_trace_is_shown_whole() -> None:
    deep = [span("0"), *(span(str(number), str(number - 1), start=number) for number in range(1, 5000))]
    assert in_order(deep)[-1].depth == 4999


def test_ends_are_those_of_all() -> None:
    assert ends([span("a", start=5, end=7), span("b", start=6, end=2)]) == (5, 7)
    assert ends([]) == (0, 0)


def test_a_service_is_named_where_it_changes() -> None:
    spans = [span("a"), span("b", "a"), span("c", "b"), span("d", "a")]
    services = zip(spans, ("api", "worker", "worker", "api"), strict=True)
    placed = in_order([replace(one, service=service) for one, service in services])
    assert {here.span.name: here.service for here in placed} == {"a": "api", "b": "worker", "c": "", "d": ""}
