"""The observer's two pages: all traces, and one of them as a waterfall. No script: the server makes the whole page."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from ragline.cli.observer.html import Html, element, page
from ragline.cli.observer.memory import Summary
from ragline.cli.traces.spans import Moment, Placed, Span, ends, in_order
from ragline.cli.traces.wording import category, length, moment
from ragline.common.span_names import DOCUMENT_ID, JOB_ID

__all__ = ["POLICY", "missing_page", "trace_list_page", "trace_page"]

_STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of the pages: this very style and nothing else. So places in a waterfall are attributes of
SVG, which no policy is about, and no CSS."""

_WIDTH = 1000
"""Units across a waterfall."""

_NARROWEST = 3
"""A bar that can still be seen."""

_DEEPEST = 24
"""Indentation ends here; the list goes on."""

_OPENED = 3
"""Spans that failed and show at once what they say."""

_LISTS = {"all": "/", "jobs": f"/?q={JOB_ID}", "documents": f"/?q={DOCUMENT_ID}"}

_LEGEND = {"work": "work", "call": "call to another part", "wait": "queue wait", "cold": "cold start", "error": "error"}


def missing_page(trace_id: str) -> str:
    """There is no such trace."""
    said = element("p", f"There is no trace {trace_id} here. The oldest are forgotten first, and all at the end of up.")
    return page("no such trace", _STYLE, _header(), element("main", said))


def trace_list_page(summaries: Sequence[Summary], *, text: str, limit: int) -> str:
    """All traces that hold the text."""
    names = (("began", "when"), ("trace", ""), ("duration", "number"), ("spans", "number"), ("errors", "number"))
    head = element("tr", *(element("th", name, class_=kind) for name, kind in names))
    body = element("table", head, *map(_list_row, summaries)) if summaries else _nothing(text)
    more = element("p", f"The newest {limit}; filter to see others.", class_="soft") if len(summaries) == limit else ""
    return page("Traces", _STYLE, _header(text), element("main", body, more))


def trace_page(spans: Sequence[Span], summary: Summary) -> str:
    """One trace as a waterfall."""
    start_us, end_us = ends(spans)
    total_us = max(end_us - start_us, 1)
    facts = [moment(start_us), length(summary.duration_us), f"{summary.spans} spans"]
    shown = [element("span", fact) for fact in facts]
    if summary.errors:
        shown.append(element("span", f"{summary.errors} with errors", class_="error"))
    if summary.dropped:
        shown.append(element("span", f"{summary.dropped} spans were too many and are not kept", class_="error"))
    commands = (f"ragline trace {summary.trace_id}", *(f"ragline why {name}" for name in summary.about))
    shown += [element("code", command, class_="soft") for command in commands]
    placed = in_order(spans)
    opened = {here.span.span_id for here in [here for here in placed if here.span.failed][:_OPENED]}
    rows = [_span_row(here, start_us, total_us, opened=here.span.span_id in opened) for here in placed]
    inside = (element("h2", summary.name), element("div", *shown, class_="facts"), _legend(), _axis(total_us), *rows)
    return page(summary.name, _STYLE, _header(), element("main", *inside))


def _header(text: str = "") -> Html:
    hint = "name, job, document, trace id ..."
    field = element("input", type="search", name="q", value=text, placeholder=hint, aria_label="Filter")
    form = element("form", field, element("button", "Filter"), action="/", method="get")
    lists = [element("a", name, href=address) for name, address in _LISTS.items()]
    return element("header", element("h1", "Ragline traces"), *lists, form)


def _list_row(summary: Summary) -> Html:
    name = element("a", summary.name or summary.trace_id, href=f"/trace/{summary.trace_id}")
    service = element("span", f" {summary.service}", class_="soft")
    errors = element("span", str(summary.errors), class_="error") if summary.errors else ""
    return element(
        "tr",
        element("td", moment(summary.start_us), class_="when"),
        element("td", name, service, element("div", "  ".join(summary.about), class_="id soft")),
        element("td", length(summary.duration_us), class_="number"),
        element("td", str(summary.spans), class_="number"),
        element("td", errors, class_="number"),
    )


def _nothing(text: str) -> Html:
    said = "No trace holds this text." if text else "No trace has arrived yet: upload something, or ask a question."
    return element("p", said, class_="soft")


def _legend() -> Html:
    keys = [element("span", _bar(kind, 0, _WIDTH), said) for kind, said in _LEGEND.items()]
    return element("p", *keys, class_="legend soft")


def _axis(total_us: int) -> Html:
    ticks = [element("span", length(total_us * quarter // 4)) for quarter in range(5)]
    return element("div", element("span"), element("span", *ticks, class_="ticks"), element("span"), class_="axis")


def _span_row(placed: Placed, start_us: int, total_us: int, *, opened: bool) -> Html:
    span = placed.span
    indent = [element("span", class_="in")] * min(placed.depth, _DEEPEST)
    name = element("span", span.name, class_="error" if span.failed else "")
    service = element("span", f" {placed.service}", class_="soft")
    offset = (span.start_us - start_us) * _WIDTH // total_us
    bar = _bar(category(span), offset, span.duration_us * _WIDTH // total_us)
    summary = element(
        "summary",
        element("span", *indent, name, service, class_="name"),
        element("span", bar, class_="bar"),
        element("span", length(span.duration_us), class_="length"),
        class_="row",
    )
    opening = {"open": ""} if opened else {}
    return element("details", summary, _inside(span, start_us), id=span.span_id, **opening)


def _bar(kind: str, offset: int, width: int) -> Html:
    seen = max(width, _NARROWEST)
    rect = element("rect", x=str(min(offset, _WIDTH - seen)), y="0", width=str(seen), height="10", class_=kind)
    return element("svg", rect, viewBox=f"0 0 {_WIDTH} 10", preserveAspectRatio="none")


def _inside(span: Span, start_us: int) -> Html:
    rows = [("began", f"{length(max(span.start_us - start_us, 0))} after the trace"), ("kind", span.kind)]
    rows += [("error", span.message or "yes")] if span.failed else []
    rows += [(key, str(value)) for key, value in span.attributes.items()]
    rows += [("event", _told(happened, span.start_us)) for happened in span.moments]
    cells = [element("tr", element("td", key, class_="soft"), element("td", value)) for key, value in rows]
    for link in span.links:
        target = f"/trace/{link.trace_id}#{link.span_id}"
        linked = element("td", element("a", f"span {link.span_id}", href=target))
        cells.append(element("tr", element("td", "link", class_="soft"), linked))
    return element("div", element("table", *cells), class_="inside")


def _told(happened: Moment, span_start_us: int) -> str:
    details = ", ".join(f"{key}={value}" for key, value in happened.attributes.items())
    return f"{happened.name} after {length(max(happened.at_us - span_start_us, 0))} {details}".rstrip()
