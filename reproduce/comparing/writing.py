"""Writes a comparison: figures, tables, page and numbers, each whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from predict_diff.errors import ResultError
from predict_diff.storage import whole_file

from ..figures.saving import save
from ..studies.table import write_csv
from .configuration import Comparison
from .curves import agreement_figure, measures_figure
from .figure import maps_figure
from .page import page
from .results import Results
from .table import COLUMNS, as_json, markdown, rows

#: The pictures beside those of maps.
_MEASURES, _AGREEMENT = "measures", "agreement"


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
        return [comparison.out / "comparison"]
    return [comparison.out / f"comparison-{name.replace('/', '_')}" for name in networks]


def _write(path: Path, text: str) -> None:
    with whole_file(path, ResultError) as file:
        # Names of files may hold what is no UTF-8.
        file.write(text.encode("utf-8", "backslashreplace"))
