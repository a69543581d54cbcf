"""Writes a figure: the picture as PNG and PDF, and the array of each panel."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path

import h5py
import matplotlib as mpl
import numpy as np

from predict_diff.errors import ResultError
from predict_diff.sealed import open_sealed, write_sealed
from predict_diff.storage import whole_file

from ..explanation import Explanation
from .drawing import Drawing

logger = logging.getLogger(__name__)

#: What the HDF5 file says it is, with the version of its layout.
KIND = "prediction-difference figure 2"

#: Dots per inch of the PNG.
_RESOLUTION = 250

#: Pixels along a side that matplotlib can draw.
_LARGEST_SIDE = (1 << 16) - 1


def refuse_damaged(stem: Path, force: bool = False) -> None:
    """Look at the HDF5 file that `save` would replace, before hours are spent on another.

    Raises
    ------
    ResultError
        If it is damaged, or another's, unless it may be replaced.
    """
    path = _path(stem, ".h5")
    if not path.exists():
        return
    try:
        with open_sealed(path, KIND):
            return
    except (OSError, ValueError, RuntimeError) as problem:
        reason = " ".join(str(problem).split())
        if force and path.is_file():
            logger.warning("%s: it cannot be read (%s); it is made again.", path, reason)
            return
        raise ResultError(
            f"{path}: expected the arrays of a figure (HDF5), but it cannot be read ({reason}); delete it, or say "
            f"--force, to have it made again"
        ) from problem


def save(drawing: Drawing, stem: Path) -> list[Path]:
    """Write the picture as PNG and PDF, and the arrays of its panels.

    The HDF5 file has a group for each photo before each network, in the order of the panels. It holds their arrays,
    and says how they were made. ResultError if they cannot be written, or the picture would be too large.
    """
    longest = max(drawing.picture.get_size_inches()) * _RESOLUTION
    if longest > _LARGEST_SIDE:
        raise ResultError(
            f"{_path(stem, '.png')}: expected a picture of at most {_LARGEST_SIDE:,} pixels along a side, found "
            f"{longest:,.0f}; choose fewer --photos: maps that are complete are kept"
        )
    paths = [_path(stem, suffix) for suffix in (".png", ".pdf", ".h5")]
    for path in paths[:2]:
        with whole_file(path, ResultError) as file, warnings.catch_warnings():
            # Names of photos may hold letters that the font lacks; they become boxes.
            warnings.filterwarnings("ignore", "Glyph")
            # No dates: the same arrays give the same bytes.
            metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}
            drawing.picture.savefig(file, format=path.suffix[1:], dpi=_RESOLUTION, metadata=metadata)

    def fill(stored: h5py.File) -> None:
        groups: dict[int, h5py.Group] = {}
        for panel in drawing.panels:
            group = groups.get(id(panel.explanation))
            if group is None:
                group = groups[id(panel.explanation)] = stored.create_group(f"{len(groups)}")
                _describe(group, panel.explanation)
            values = panel.values.astype(np.float32) if panel.values.dtype.kind == "f" else panel.values
            group.create_dataset(panel.name, data=values, compression="gzip", shuffle=True).attrs.update(
                panel.attributes
            )

    write_sealed(paths[2], KIND, fill, ResultError)
    return paths


def _path(stem: Path, suffix: str) -> Path:
    # Names of photos may hold dots, behind which no suffix is to be replaced.
    return stem.with_name(stem.name + suffix)


def _describe(group: h5py.Group, explanation: Explanation) -> None:
    card = explanation.classifier.card
    group.attrs["photo"] = explanation.photo.name
    group.attrs["network"] = card.name
    group.attrs["stands_in_for"] = card.stands_in_for or ""
    group.attrs["settings"] = explanation.settings.model_dump_json()
    group.attrs["best"] = json.dumps(explanation.best)
    for sampler, found in explanation.relevance.items():
        group.attrs[f"provenance_{sampler}"] = json.dumps(found.provenance, sort_keys=True)


mpl.rcParams["pdf.fonttype"] = 42  # fonts as text, not as outlines
