"""HTML from Python: whatever is not markup itself is escaped on its way into an element."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

#: Elements that hold nothing and have no end tag.
_VOID = frozenset({"img", "meta"})


class Markup(str):
    """A piece of HTML; any other text is text, and never becomes a tag."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str) -> Markup:
    """An element.

    Parameters
    ----------
    tag : str
    *children : str
        Markup stays as it is, text is escaped.
    **attributes : str
        ``class_`` for class, ``data_label`` for data-label, and so on.
    """
    given = "".join(f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"' for name, value in attributes.items())
    if tag in _VOID:
        return Markup(f"<{tag}{given}>")
    return Markup(f"<{tag}{given}>{joined(children)}</{tag}>")


def joined(children: Iterable[str], between: str = "") -> Markup:
    """Pieces one after another, with text between them; what is not markup is escaped."""
    return Markup(
        escape(between).join(child if isinstance(child, Markup) else escape(child, quote=False) for child in children)
    )


def table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    """A table with a caption; the first cell of a row is its heading. Narrow screens show each cell below its label."""
    head = element("tr", *(element("th", heading, scope="col") for heading in headings))
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(element("td", cell, data_label=heading) for heading, cell in zip(headings[1:], row[1:], strict=True)),
            Markup("\n"),
        )
        for row in rows
    ]
    return element("table", element("caption", caption), element("thead", head), Markup("\n"), element("tbody", *body))


def definitions(pairs: Iterable[tuple[str, str]]) -> Markup:
    """A list of names and what they are; what is empty is left out."""
    return element("dl", *(element("div", element("dt", name), element("dd", value)) for name, value in pairs if value))
