"""The page of a comparison: no server, no script, nothing from elsewhere but the pictures, which are in it."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from predict_diff.errors import ResultError

from ..photos import default_photos
from ..report.document import document
from ..report.markup import Markup, definitions, element, joined, table
from .approaches import Approach
from .curves import ARROWS
from .figure import in_words
from .results import Results
from .summary import Summary
from .table import cell, command, passes_in_words, settings_of, title_of, words_on_intervals

#: What the page needs beyond the report's style.
_STYLE = """
thead th, td { overflow-wrap: break-word; }
td.best { font-weight: 700; }
.maps, .measured { overflow-x: auto; }
.maps { border: 1px solid var(--line); }
.maps:focus-visible, .measured:focus-visible { outline: 3px solid #0b4a9e; }
figure .maps img { max-width: none; width: 100%; min-width: 56rem; border: 0; }
@media print { figure .maps img { min-width: 0; } }
"""

#: Pixels across a picture of maps in the page, twice as many as it is shown with, about; and how much is lost of it.
_WIDEST, _QUALITY = 2304, 90

_PARTS = ("Maps", "Measures", "Agreement", "Methods", "Networks", "Photos", "Command")

_COST = (
    "Seconds: what a map took when it was computed. Passes of the network for a map: methods that change windows "
    "recompute only what a window can change, so that their passes take less."
)

_SAYS = {
    "for or against": "for and against",
    "for": "for",
    "how much": "how much, without a sign",
}


def page(results: Results, maps: Sequence[Path], measures: Path, agreement: Path) -> str:
    """The page as HTML.

    Parameters
    ----------
    results : Results
    maps : sequence of Path
        The picture of each network's maps.
    measures, agreement : Path
        The pictures of curves and measures, and of how alike maps are.

    Raises
    ------
    ResultError
        If a picture cannot be read.
    """
    main = element(
        "main",
        _section("Maps", *map(_maps, maps)),
        _section("Measures", *_tables(results), _picture(measures, "Curves, and means with intervals, of each method")),
        _section("Agreement", _picture(agreement, "Rank correlation and shared top pixels of each two methods")),
        _section("Methods", _methods(results), _meanings(results)),
        _section("Networks", _networks(results)),
        _section("Photos", _photos(results)),
        _section("Command", element("pre", element("code", command(results)))),
    )
    return document(results.comparison.title, _header(results), main, style=_STYLE)


def _header(results: Results) -> Markup:
    comparison = results.comparison
    facts = [
        ("Comparison", comparison.origin),
        ("Profile", comparison.profile),
        ("Variant", comparison.request.variant),
        ("Seed", str(comparison.seed)),
        ("Stand-ins", _stand_ins(results)),
        (
            "Numbers",
            joined((element("a", name, href=name) for name in ("table.csv", "table.md", "comparison.json")), ", "),
        ),
        ("Versions", ", ".join(f"{name} {number}" for name, number in results.versions.items())),
    ]
    links = (element("a", part, href=f"#{part.lower()}") for part in _PARTS)
    return element(
        "header",
        element("h1", comparison.title),
        definitions(facts),
        element("nav", *links, aria_label="Parts of this page"),
    )


def _tables(results: Results) -> Iterable[Markup]:
    yield element("p", words_on_intervals(results), " ", _COST)
    for network in results.tables:
        yield _table(results, network)


def _table(results: Results, network: str | None) -> Markup:
    headings = ["Method", *(m.title + ARROWS[m.kind.direction] for m in results.measures), "Seconds", "Passes"]
    # Not `markup.table`: the best cell has a class of its own.
    head = element("tr", *(element("th", heading, scope="col") for heading in headings))
    body = joined(_row(results, approach, network, headings) for approach in results.approaches)
    caption = "All networks." if network is None else f"{title_of(results, network)}."
    found = element("table", element("caption", caption), element("thead", head), Markup("\n"), element("tbody", body))
    return _scrolling(found, "measured", f"Measures. {caption}")


def _row(results: Results, approach: Approach, network: str | None, headings: Sequence[str]) -> Markup:
    measured = [results.summaries(measure.name, network).get(approach.name) for measure in results.measures]
    shown = [_shown(each, heading, results.photos) for each, heading in zip(measured, headings[1:], strict=False)]
    seconds = _mean(cell(results.seconds(approach.name, network), results.photos))
    shown.append(element("td", *seconds, data_label=headings[-2]))
    shown.append(element("td", passes_in_words(results, approach.name, network), data_label=headings[-1]))
    return element("tr", element("th", approach.name, scope="row"), *shown, Markup("\n"))


def _shown(found: Summary | None, heading: str, photos: int) -> Markup:
    if found is None:
        return element("td", data_label=heading)
    return element("td", *_mean(cell(found.interval, photos)), data_label=heading, class_="best" if found.best else "")


def _mean(text: str) -> list[str]:
    """A mean, and its interval in small letters below."""
    mean, _, spread = text.partition(" ")
    return [mean, element("small", spread.strip("()"))] if spread else [mean]


def _methods(results: Results) -> Markup:
    rows = [
        [
            each.name,
            each.about.source,
            in_words(settings_of(results, each)) or "none",
            _SAYS[each.about.says],
            "yes" if each.about.random else "no",
        ]
        for each in results.approaches
    ]
    return table("What was compared.", ["Method", "Source", "Settings", "Says what speaks", "Random"], rows)


def _meanings(results: Results) -> Markup:
    rows = [
        [
            each.title + ARROWS[each.kind.direction],
            each.kind.meaning,
            in_words(each.parameters.model_dump(mode="json")) or "none",
            each.kind.source,
        ]
        for each in results.measures
    ]
    return table("What was measured.", ["Measure", "What it is", "Settings", "Source"], rows)


def _networks(results: Results) -> Markup:
    rows = []
    for each in results.outcomes.values():
        described, card = each[0].case.network.describe(), each[0].case.classifier.card
        rows.append(
            [
                card.title,
                element("code", described["sha256"]),
                described["provider"],
                described["precision"],
                card.licence,
            ]
        )
    return table("The networks.", ["Network", "SHA-256", "Provider", "Precision", "Licence"], rows)


def _photos(results: Results) -> Markup:
    rows = []
    for place, outcome in enumerate(results.outcomes[results.networks[0]]):
        photo = outcome.case.photo
        known = default_photos().get(photo.name) if photo.source.startswith("skimage:") else None
        classes = [
            f"{title_of(results, name)}: {each[place].case.classifier.describe_target(each[place].case.target)}"
            for name, each in results.outcomes.items()
        ]
        rows.append(
            [photo.name, known.credit if known else "the user's", "; ".join(classes), element("code", photo.sha256)]
        )
    return table("The photos, and what is explained.", ["Photo", "Credit", "Class", "SHA-256 of its pixels"], rows)


def _stand_ins(results: Results) -> str:
    from .. import networks

    cards = [each[0].case.classifier.card for name, each in results.outcomes.items() if results.is_stand_in(name)]
    return "; ".join(
        f"{card.title} stands in for {networks.card(card.stands_in_for).title}" for card in cards if card.stands_in_for
    )


def _section(title: str, *parts: Markup) -> Markup:
    return element("section", element("h2", title), *parts, id=title.lower())


def _maps(path: Path) -> Markup:
    """The picture of a network's maps, smaller than the file beside the page: noise, which PNG cannot compress."""
    try:
        with Image.open(io.BytesIO(_content(path))) as image:
            drawn = image.convert("RGB")
    except (OSError, Image.DecompressionBombError) as reason:
        raise _unreadable(path, str(reason)) from reason
    if drawn.width > _WIDEST:
        size = _WIDEST, max(1, round(drawn.height * _WIDEST / drawn.width))
        drawn = drawn.resize(size, Image.Resampling.LANCZOS)
    packed = io.BytesIO()
    drawn.save(packed, "JPEG", quality=_QUALITY, subsampling=0)
    return _figure(path, "jpeg", packed.getvalue(), f"Maps of all methods: {path.stem}", "maps")


def _picture(path: Path, words: str) -> Markup:
    return _figure(path, "png", _content(path), words)


def _figure(path: Path, kind: str, content: bytes, words: str, name: str = "") -> Markup:
    files = joined(
        (
            element("a", shown, href=quote(os.fsencode(path.with_suffix(ending).name)))
            for ending, shown in ((".png", "PNG"), (".pdf", "PDF"), (".h5", "arrays (HDF5)"))
        ),
        ", ",
    )
    picture = element("img", src=f"data:image/{kind};base64,{base64.b64encode(content).decode()}", alt=words)
    shown = _scrolling(picture, name, words) if name else picture
    return element("figure", shown, element("figcaption", element("p", "Files beside this page: ", files, ".")))


def _scrolling(content: Markup, name: str, words: str) -> Markup:
    """What can be wider than the page; what scrolls, keys can scroll, too."""
    return element("div", content, class_=name, tabindex="0", role="region", aria_label=words)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as reason:
        raise _unreadable(path, str(reason.strerror)) from reason


def _unreadable(path: Path, reason: str) -> ResultError:
    return ResultError(
        f"{path}: expected the picture that was just drawn, but it cannot be read ({reason}); run it again"
    )
