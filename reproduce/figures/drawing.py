"""What drawing a figure gives: the picture, and the array of each panel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure as Picture
from numpy.typing import NDArray

from ..explanation import Explanation


@dataclass(frozen=True, eq=False)
class PanelArray:
    """The array of one panel.

    Attributes
    ----------
    explanation : Explanation
        Whose it is.
    name : str
        Of the array in the HDF5 file.
    values : ndarray
    attributes : dict
        What else is to be known: the target, its unit of measurement, ...
    """

    explanation: Explanation
    name: str
    values: NDArray[Any]
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Drawing:
    """A picture, and its panels in reading order."""

    picture: Picture
    panels: list[PanelArray]
