"""HTML in which text cannot become markup: elements are made here, and everything else is escaped."""

from html import escape

__all__ = ["Html", "element", "page"]

_VOID = {"input"}
"""Elements without an end."""


class Html(str):
    """Markup. Any other string is text."""

    __slots__ = ()


def element(name: str, /, *inside: str, **attributes: str) -> Html:
    """An element; names of attributes are written with ``_`` for ``-``, and ``class_`` for ``class``."""
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{written}>" if name in _VOID else f"<{name}{written}>{_joined(inside)}</{name}>")


def page(title: str, style: str, *inside: str) -> str:
    """A whole page.

    Parameters
    ----------
    style
        CSS of ours: it is not escaped.
    """
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{style}</style>"
    )
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{_joined(inside)}</body></html>'


def _joined(inside: tuple[str, ...]) -> str:
    return "".join(part if isinstance(part, Html) else escape(part) for part in inside)
