"""The pages of a study: how far it is, what failed and why, and its maps with small pictures and links to the files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from predict_diff.errors import ResultError
from predict_diff.storage import whole_file

from ..progress import duration
from ..report.document import document
from ..report.markup import Markup, definitions, element, joined, table
from ..runner import MAPS
from .columns import COLUMNS
from .index import Index, Standing
from .names import Files
from .thumbnails import SIDE, thumbnail_name

#: Maps on a page, and failures that are listed.
MAPS_A_PAGE = 200
_FAILURES = 100

#: What a study's pages need beyond the report's style.
_STYLE = f"""
thead th, td {{ overflow-wrap: break-word; }}
td:last-child {{ overflow-wrap: anywhere; }}
td.picture img {{ display: block; width: {SIDE}px; height: {SIDE}px; }}
td.number {{ white-space: nowrap; }}
"""

_HEADINGS = ("Photo", "Map", "Network", "Sampler", "Seed", "Target", "Value", "Largest", "Smallest", "Time")


def write_pages(files: Files, index: Index, settings: Iterable[tuple[str, str]]) -> None:
    """Write index.html and what does not fit on it, and delete pages that are too many.

    Parameters
    ----------
    files : Files
    index : Index
    settings : iterable of (str, str)
        What is the same for all maps: names and values.

    Raises
    ------
    ResultError
        If they cannot be written.
    """
    counts, number, after = index.counts(), 0, -1
    last = max(1, -(-counts.done // MAPS_A_PAGE))
    while number < last:
        number += 1
        path = files.page if number == 1 else files.further_page(number)
        some = index.standings("done", after, MAPS_A_PAGE)
        after = some[-1].number if some else after
        parts = [_maps(files.out, path, some, number, last)]
        if number == 1:
            parts = [_overview(files, index, settings), *parts, _columns()]
        _write(path, index.title(), _links(files, path, number, last), parts)
    for stale in files.further_page(2).parent.glob("*.html"):
        if stale.stem.isdecimal() and int(stale.stem) > last:
            stale.unlink(missing_ok=True)


def _overview(files: Files, index: Index, settings: Iterable[tuple[str, str]]) -> Markup:
    counts = index.counts()
    here = files.page
    tables = [path for path in (files.csv, files.parquet) if path.exists()]
    facts = [
        ("Maps", f"{counts.done} of {counts.total} done, {counts.failed} failed"),
        ("As of", time.strftime("%Y-%m-%d %H:%M:%S")),
        ("Numbers", joined((_link(here, path, path.name) for path in tables), ", ")),
        ("Log", _link(here, files.log, files.log.name)),
        *settings,
    ]
    return element("section", definitions(facts), *_failures(index), id="study")


def _failures(index: Index) -> list[Markup]:
    failed = index.counts().failed
    if not failed:
        return []
    rows = [
        [_photo(item), _file_name(item.network), item.sampler, str(item.seed), item.error or ""]
        for item in index.standings("failed", limit=_FAILURES)
    ]
    caption = "Maps that could not be computed, and why; the same command tries them again."
    if failed > len(rows):
        caption += f" {failed - len(rows)} more are in the table of numbers."
    headings = ["Photo", "Network", "Sampler", "Seed", "Reason"]
    return [element("h2", "Failures", id="failures"), table(caption, headings, rows)]


def _maps(out: Path, here: Path, some: Sequence[Standing], number: int, last: int) -> Markup:
    caption = "Each map's first target: red for it, blue against it. All targets are in the table of numbers."
    head = element("tr", *(element("th", heading, scope="col") for heading in _HEADINGS))
    body = joined(_row(out, here, item) for item in some)
    title = "Maps" if last == 1 else f"Maps, page {number} of {last}"
    return element(
        "section",
        element("h2", title, id="maps"),
        element("table", element("caption", caption), element("thead", head), Markup("\n"), element("tbody", body)),
    )


def _row(out: Path, here: Path, item: Standing) -> Markup:
    target, map_file = item.target, item.map or ""
    picture = out / thumbnail_name(map_file)
    file = out / MAPS / map_file
    shown = _image(here, picture, f"{item.photo}, {item.network}, {item.sampler}") if picture.exists() else "map"
    explained = joined([target["class"] or target["target"] or "", element("small", target["target"] or "")])
    cells = [
        ("Map", _link(here, file, shown), "picture"),
        ("Network", _file_name(item.network), ""),
        ("Sampler", item.sampler, ""),
        ("Seed", str(item.seed), "number"),
        ("Target", explained, ""),
        ("Value", _number(target["value"]), "number"),
        ("Largest", _number(target["largest"]), "number"),
        ("Smallest", _number(target["smallest"]), "number"),
        ("Time", duration(item.seconds or 0.0), "number"),
    ]
    return element(
        "tr",
        element("th", _photo(item), scope="row"),
        *(element("td", cell, data_label=label, class_=kind) for label, cell, kind in cells),
        Markup("\n"),
    )


def _photo(item: Standing) -> Markup:
    """The name of a photo's file, and below it the folder's."""
    name = _file_name(item.photo)
    folder = item.photo.removesuffix(name)
    return joined([name, *([element("small", folder)] if folder else [])])


def _file_name(text: str) -> str:
    """The last part of a path; a name alone is one."""
    return text.rpartition("/")[2]


def _columns() -> Markup:
    rows = [[column.name, column.meaning] for column in COLUMNS]
    caption = "The columns of the table of numbers, which has a row for each target of each map."
    return element("section", element("h2", "Columns", id="columns"), table(caption, ["Column", "Meaning"], rows))


def _links(files: Files, here: Path, number: int, last: int) -> Markup:
    """To the pages before and after."""
    paths = {1: files.page} | {
        other: files.further_page(other) for other in (number - 1, number + 1, last) if other > 1
    }
    wanted = [("First", 1), ("Previous", number - 1), ("Next", number + 1), ("Last", last)]
    shown = [_link(here, paths[to], word) for word, to in wanted if 1 <= to <= last and to != number]
    return element("nav", *shown, aria_label="Pages of maps") if shown else Markup()


def _link(here: Path, path: Path, shown: str) -> Markup:
    return element("a", shown, href=_address(here, path))


def _image(here: Path, path: Path, words: str) -> Markup:
    return element("img", src=_address(here, path), alt=words, loading="lazy")


def _address(here: Path, path: Path) -> str:
    """Of a file beside the page, or below or above it."""
    return quote(os.fsencode(os.path.relpath(path, here.parent)))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}".replace("-", "−")


def _write(path: Path, title: str, links: Markup, parts: Sequence[Markup]) -> None:
    header = element("header", element("h1", title), links)
    # From this folder only.
    html = document(title, header, element("main", *parts), links, style=_STYLE, pictures="'self' file:")
    with whole_file(path, ResultError) as file:
        file.write(html.encode("utf-8", "backslashreplace"))
