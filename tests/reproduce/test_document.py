"""What all pages have: a head that lets browsers run and fetch nothing."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from reproduce.report.document import document
from reproduce.report.markup import element


@pytest.mark.parametrize("pictures", ["data:", "'self' file:"])
def test_browsers_take_the_pages_own_style_and_pictures_and_nothing_else(pictures: str) -> None:
    page = document("<Title>", element("p", "a < b"), style="p { color: red; }", pictures=pictures)
    assert page.startswith('<!doctype html>\n<html lang="en"><head><meta charset="utf-8">')
    assert "<title>&lt;Title&gt;</title>" in page
    assert "<body><p>a &lt; b</p></body>" in page
    (style,) = re.findall("<style>(.*)</style>", page, re.DOTALL)
    assert style.endswith("p { color: red; }")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = re.findall('Content-Security-Policy" content="([^"]*)"', page)
    assert policy.replace("&#x27;", "'").split("; ") == [
        "default-src 'none'",
        f"img-src {pictures}",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
