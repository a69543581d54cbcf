"""What is explained: a unit of a blob, or the mean of a feature map's units."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .errors import ConfigurationError, closest, in_short

#: How a change is measured: weight of evidence (eq. 3) or activation difference (eq. 7).
Measure = Literal["WE", "AD"]


@dataclass(frozen=True)
class Target:
    """One number that the network computes, as a function of the photo.

    Attributes
    ----------
    blob : str
        Name of the blob.
    index : tuple of int
        Position in the blob, batch axis left out. Where the blob has more axes than the index, the target is the
        mean over the rest: ``(3,)`` of a convolutional blob is the mean of feature map 3 (Paper: figures 5 and 6),
        ``(3, 0, 7)`` is one of its units, ``(281,)`` of ``prob`` is the probability of class 281.

    Raises
    ------
    ConfigurationError
        If the blob is no text, or the index no tuple of whole numbers from 0 on.
    """

    blob: str
    index: tuple[int, ...]

    def __post_init__(self) -> None:
        whole = isinstance(self.index, tuple) and all(
            isinstance(i, int | np.integer) and not isinstance(i, bool) and i >= 0 for i in self.index
        )
        if not isinstance(self.blob, str) or not whole:
            raise ConfigurationError(
                f"target: expected the name of a blob and a tuple of whole numbers from 0 on, such as "
                f"Target('prob', (281,)), found {in_short(self.blob)} and {in_short(self.index)}"
            )

    def __str__(self) -> str:
        return f"{self.blob}:{','.join(map(str, self.index))}"

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read ``BLOB:UNIT``, as in ``prob:281``, ``conv5:12`` (a feature map) or ``conv5:12,3,4`` (one unit).

        Raises
        ------
        ConfigurationError
            If the text has another form.
        """
        match = re.fullmatch(r"(.+):\s*(\d{1,9}(?:\s*,\s*\d{1,9})*)\s*", text)
        if match is None:
            raise ConfigurationError(
                f"target: expected BLOB:UNIT, such as prob:281, conv5:12 (the mean of feature map 12) or conv5:12,3,4 "
                f"(one unit), found '{text}'"
            )
        return cls(match[1], tuple(int(number) for number in match[2].split(",")))

    def check(self, blobs: Mapping[str, tuple[int, ...]]) -> None:
        """Raise ConfigurationError unless a network with these blobs (name to shape without batch) has the target."""
        if self.blob not in blobs:
            raise ConfigurationError(
                f"target: the network has no blob '{self.blob}'{closest(self.blob, blobs)}; "
                f"its last ones are {', '.join(list(blobs)[-4:])}"
            )
        shape = blobs[self.blob]
        fits = len(self.index) <= len(shape) and all(i < size for i, size in zip(self.index, shape, strict=False))
        if not self.index or not fits:
            sizes = " x ".join(map(str, shape))
            raise ConfigurationError(f"target: blob '{self.blob}' is {sizes}, so it has no unit {self.index}")
