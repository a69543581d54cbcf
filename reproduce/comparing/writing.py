"""Writes a comparison: figures, tables, page and numbers, each whole or not at all."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from predict_diff.errors import ResultError
from predict_diff.storage import whole_file

from ..figures.saving import refuse_damaged, save
from ..studies.table import write_csv
from .configuration import Comparison
from .curves import agreement_figure, measures_figure
from .figure import maps_figure
from .page import page
from .results import Results
from .table import COLUMNS, as_json, markdown, rows

logger = logging.getLogger(__name__)

#: What pictures are called, or how their names begin.
_MAPS, _MEASURES, _AGREEMENT = "comparison", "measures", "agreement"


def write(results: Results) -> list[Path]:
    """Draw and write everything.

    Returns
    -------
    list of Path
        The page, the tables, the numbers, and the PNG of each figure; PDF and HDF5 lie beside these.

    Raises
    ------
    ResultError
        If something cannot be written.
    """
    comparison, out = results.comparison, results.comparison.out
    palette = comparison.request.palette
    maps = [
        save(maps_figure(results, network, palette), stem)[0]
        for network, stem in zip(results.networks, _map_stems(comparison, results.networks), strict=True)
    ]
    measures = save(measures_figure(results, palette), out / _MEASURES)[0]
    agreement = save(agreement_figure(results, palette), out / _AGREEMENT)[0]
    _delete_stale(out, figure_stems(comparison, results.networks))
    csv, table, numbers, html = (out / name for name in ("table.csv", "table.md", "comparison.json", "comparison.html"))
    write_csv(csv, rows(results), COLUMNS)
    _write(table, markdown(results))
    _write(numbers, json.dumps(as_json(results), indent=1, allow_nan=False) + "\n")
    _write(html, page(results, maps, measures, agreement))
    return [html, csv, table, numbers, *maps, measures, agreement]


def figure_stems(comparison: Comparison, networks: Sequence[str]) -> list[Path]:
    """Where figures are going to lie, their endings left out."""
    return [*_map_stems(comparison, networks), comparison.out / _MEASURES, comparison.out / _AGREEMENT]


def _map_stems(comparison: Comparison, networks: Sequence[str]) -> list[Path]:
    """``comparison`` of a single network, else one for each."""
    if len(networks) == 1:
        return [comparison.out / _MAPS]
    # Long names of networks are told apart by where they stand.
    words = [re.sub(r"[^\w.-]+", "_", name)[:50] for name in networks]
    stems = [word if words.count(word) == 1 else f"{number}-{word}" for number, word in enumerate(words, start=1)]
    return [comparison.out / f"{_MAPS}-{stem}" for stem in stems]


def _delete_stale(folder: Path, kept: Sequence[Path]) -> None:
    """Delete the maps of networks that are not compared any more: beside the others, they would seem to belong to them.

    Only what this program has written: pictures that have their arrays beside them, which say what they are.
    """
    for arrays in (folder / f"{_MAPS}.h5", *folder.glob(f"{_MAPS}-*.h5")):
        stem = arrays.with_suffix("")
        if stem in kept or not arrays.exists():
            continue
        try:
            refuse_damaged(stem)
        except ResultError:
            continue
        for ending in (".png", ".pdf", ".h5"):
            stem.with_name(stem.name + ending).unlink(missing_ok=True)
        logger.info("%s: deleted, with its pictures: it was drawn for other networks.", arrays)


def _write(path: Path, text: str) -> None:
    with whole_file(path, ResultError) as file:
        # Names of files may hold what is no UTF-8.
        file.write(text.encode("utf-8", "backslashreplace"))
