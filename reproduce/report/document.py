"""A page as a whole: its head, and what browsers may do with it. The same contents give the same bytes."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from .markup import Markup, element


def document(title: str, *body: Markup, style: str = "", pictures: str = "data:") -> str:
    """A page without server and script.

    Parameters
    ----------
    title : str
    *body : Markup
        What the body holds.
    style : str
        CSS beyond that of all pages.
    pictures : str, default "data:"
        Where pictures may come from, as a content security policy names it; by default from within the page.

    Returns
    -------
    str
        HTML.
    """
    html = element("html", _head(title, _style() + style, pictures), Markup("\n"), element("body", *body), lang="en")
    return f"<!doctype html>\n{html}\n"


def _head(title: str, style: str, pictures: str) -> Markup:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    # Whatever the page may come to hold: browsers run no script and fetch nothing but pictures.
    policy = f"default-src 'none'; img-src {pictures}; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(style)),
    )


@cache
def _style() -> str:
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")
