"""Writes a figure: the picture as PNG and PDF, and the array of each panel."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import h5py
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure as Picture
from numpy.typing import NDArray

from predict_diff.errors import ResultError
from predict_diff.sealed import write_sealed
from predict_diff.storage import whole_file

from ..runner import Explanation

#: Dots per inch of the PNG.
_RESOLUTION = 200


def save(picture: Picture, explanations: list[Explanation], stem: Path) -> list[Path]:
    """Write the picture as PNG and PDF, and the arrays of its panels."""
    paths = [stem.with_suffix(suffix) for suffix in (".png", ".pdf", ".h5")]
    for path in paths[:2]:
        with whole_file(path, ResultError) as file, warnings.catch_warnings():
            # Names of photos may hold letters that the font lacks; they become boxes.
            warnings.filterwarnings("ignore", "Glyph")
            # No dates: the same arrays give the same bytes.
            metadata = {"CreationDate": None} if path.suffix == ".pdf" else {"Software": None}
            picture.savefig(file, format=path.suffix[1:], dpi=_RESOLUTION, metadata=metadata)

    def fill(stored: h5py.File) -> None:
        for number, explanation in enumerate(explanations):
            _store(stored.create_group(f"{number}"), explanation)

    write_sealed(paths[2], "prediction-difference figure 1", fill, ResultError)
    return paths


def _store(group: h5py.Group, explanation: Explanation) -> None:
    group.attrs["photo"] = explanation.photo.name
    group.attrs["network"] = explanation.classifier.name
    group.attrs["settings"] = explanation.settings.model_dump_json()
    group.attrs["best"] = json.dumps(explanation.best)
    group.attrs["targets"] = [str(target) for target in explanation.targets]
    arrays: dict[str, NDArray[np.floating]] = {
        "photo": explanation.view,
        "sensitivity": np.stack(explanation.sensitivity),
    }
    for name, found in explanation.relevance.items():
        arrays |= {name: found.maps, f"{name}_standard_error": found.map_errors}
    for label, array in arrays.items():
        group.create_dataset(label, data=array.astype(np.float32), compression="gzip", shuffle=True)
    for name, found in explanation.relevance.items():
        group[name].attrs["measures"] = list(found.measures)
        group[name].attrs["provenance"] = json.dumps(found.provenance, sort_keys=True)


mpl.rcParams["pdf.fonttype"] = 42  # fonts as text, not as outlines
