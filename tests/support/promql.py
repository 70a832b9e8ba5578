"""What expressions in PromQL rely on: names of metrics, their labels, and the values that labels are compared with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import promql_parser
from promql_parser import AggModifierType, AggregateExpr, BinaryExpr, Call, Expr, Matcher, VectorSelector

__all__ = ["Use", "uses"]

TARGET_LABELS = frozenset({"namespace", "job", "instance", "pod"})
"""Labels that come from the scrape, not from the metric."""

VARIABLES = {"$__rate_interval": "5m", "$namespace": ".*"}
"""What Grafana puts in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One place in which a metric is used.

    Attributes
    ----------
    labels
        Those it must have: they are matched or kept.
    matchers
        Of its own labels.
    """

    name: str
    labels: frozenset[str]
    matchers: tuple[tuple[str, str], ...] = field(default=())


def uses(text: str) -> Iterator[Use]:
    """Every use of a metric in an expression."""
    for name, value in VARIABLES.items():
        text = text.replace(name, value)
    yield from _uses(promql_parser.parse(text), frozenset(), {})


def _uses(expr: Expr, kept: frozenset[str], made: Mapping[str, str]) -> Iterator[Use]:
    """`kept` are labels that something outside keeps, `made` those that a function outside makes of others."""
    match expr:
        case VectorSelector():
            yield _use(expr, kept, made)
        case AggregateExpr():
            by = expr.modifier is not None and expr.modifier.type == AggModifierType.By
            labels = frozenset(expr.modifier.labels) if by and expr.modifier else kept
            yield from _uses(expr.expr, labels, made)
        case BinaryExpr():
            yield from _uses(expr.lhs, kept, made)
            # Of what is only asked whether it is there, no label is kept.
            yield from _uses(expr.rhs, frozenset() if str(expr.op) in {"and", "unless"} else kept, made)
        case Call() if expr.func.name == "label_replace":
            target, source = expr.args[1].val, expr.args[3].val
            yield from _uses(expr.args[0], kept, {**made, target: source})
        case Call():
            for argument in expr.args:
                yield from _uses(argument, kept, made)
        case _:
            for inner in ("expr", "vector_selector"):
                if hasattr(expr, inner):
                    yield from _uses(getattr(expr, inner), kept, made)


def _use(selector: VectorSelector, kept: frozenset[str], made: Mapping[str, str]) -> Use:
    assert selector.name, selector
    matchers: list[Matcher] = selector.matchers.matchers
    own = tuple((found.name, found.value) for found in matchers if found.name not in TARGET_LABELS)
    labels = {name for name, _ in own} | {label for label in kept if label not in made}
    return Use(name=selector.name, labels=frozenset(labels - TARGET_LABELS), matchers=own)
