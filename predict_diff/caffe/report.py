"""What a check of a converted network found: blob by blob, as a table and as JSON."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WIDTH = 110
_WORST = 10
_NAME_AT_LEAST, _NAME_AT_MOST = 12, 44
_FLT_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Row:
    """One blob, compared with one implementation.

    Attributes
    ----------
    blob : str
    numbers : int
        How many it has.
    error : float
        Largest absolute difference, relative to the blob's largest absolute value; infinite where NaN, infinities or
        Caffe's -FLT_MAX of empty pooling windows stand in other places.
    cosine : float
        Of the angle between the two.
    limit : float
        What the error must not exceed.
    note : str
    """

    blob: str
    numbers: int
    error: float
    cosine: float
    limit: float
    note: str = ""

    @property
    def passed(self) -> bool:
        return self.error <= self.limit


@dataclass(frozen=True)
class Comparison:
    """A converted network against one implementation.

    Attributes
    ----------
    implementation : str
        "Caffe", "NumPy" or "OpenCV".
    version : str
    rows : sequence of Row
        In the order of computation.
    binding : bool
        Whether a row that fails fails the check.
    note : str
        What was not compared, and why.
    """

    implementation: str
    version: str
    rows: Sequence[Row]
    binding: bool
    note: str = ""

    @property
    def passed(self) -> bool:
        return all(row.passed for row in self.rows)

    @property
    def worst(self) -> Row | None:
        return max(self.rows, key=lambda row: row.error, default=None)

    def verdict(self) -> str:
        """One line."""
        name = f"{self.implementation} {self.version}".strip()
        worst = self.worst
        if worst is None:
            return f"{name}: not compared: {self.note}"
        failed = [row for row in self.rows if not row.passed]
        found = f"largest error {worst.error:.1e} ('{worst.blob}')"
        if failed:
            word = "FAILED" if self.binding else "differs"
            found = f"{word} in {len(failed)} of {len(self.rows)} blobs, first in '{failed[0].blob}'; {found}"
        else:
            found = f"agrees in {len(self.rows)} blobs; {found}"
        return f"{name}: {found}, at most {worst.limit:.0e} allowed" + (f"; {self.note}" if self.note else "")


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes
    ----------
    network : str
        Its name.
    inputs : str
        What it was fed.
    runtime : str
        What ran the converted network.
    comparisons : sequence of Comparison
    """

    network: str
    inputs: str
    runtime: str
    comparisons: Sequence[Comparison]

    @property
    def rows(self) -> list[Row]:
        """All rows, implementation by implementation."""
        return [row for comparison in self.comparisons for row in comparison.rows]

    @property
    def passed(self) -> bool:
        """Whether every blob agrees with the original Caffe, where given, and with the NumPy reading."""
        binding = [comparison for comparison in self.comparisons if comparison.binding]
        return any(comparison.rows for comparison in binding) and all(comparison.passed for comparison in binding)

    def table(self, full: bool = False) -> str:
        """The report as text, at most 110 characters wide.

        Parameters
        ----------
        full : bool
            Every blob, in the order of computation. Otherwise those that fail and the worst ten, worst first, and the
            first in which OpenCV differs.
        """
        columns = [comparison for comparison in self.comparisons if comparison.rows]
        blobs = self._order() if full else self._noteworthy()
        name_width = _WIDTH - 12 - 21 * len(columns)
        name_width = min(max([_NAME_AT_LEAST, *map(len, blobs)]), _NAME_AT_MOST, name_width)
        lines = [f"{self.network}: {self.inputs}, on {self.runtime}, against:"]
        for comparison in self.comparisons:
            lines += textwrap.wrap(comparison.verdict(), _WIDTH, initial_indent="  ", subsequent_indent="    ")
        titles = "".join(f"{comparison.implementation:>10}{'cosine':>11}" for comparison in columns)
        lines += ["", f"{'blob':<{name_width}}{'numbers':>12}{titles}"]
        by_blob = [{row.blob: row for row in comparison.rows} for comparison in columns]
        for blob in blobs:
            found = [rows.get(blob) for rows in by_blob]
            numbers = next(row.numbers for row in found if row)
            lines.append(f"{_shortened(blob, name_width):<{name_width}}{numbers:>12,}" + "".join(map(_cells, found)))
            for note in dict.fromkeys(row.note for row in found if row and row.note):
                lines += textwrap.wrap(note, _WIDTH, initial_indent="    ", subsequent_indent="    ")
        if left := len(self._order()) - len(blobs):
            lines.append(f"... and {left} more blobs")
        lines += ["", "PASSED" if self.passed else "FAILED"]
        return "\n".join(lines)

    def _order(self) -> list[str]:
        """All blobs in the order of computation: the longest comparison has all but the inputs, which come first."""
        longest = max((comparison.rows for comparison in self.comparisons), key=len, default=())
        last = dict.fromkeys(row.blob for row in longest)
        return [*dict.fromkeys(row.blob for row in self.rows if row.blob not in last), *last]

    def _noteworthy(self) -> list[str]:
        """Blobs that fail and the worst ten, worst first. Of a comparison that does not bind, the first that differs:
        all that follow from it may differ too."""
        errors = dict.fromkeys(self._order(), 0.0)
        shown: set[str] = set()
        for comparison in self.comparisons:
            failed = [row.blob for row in comparison.rows if not row.passed]
            shown |= set(failed if comparison.binding else failed[:1])
            for row in comparison.rows if comparison.binding else ():
                errors[row.blob] = max(errors[row.blob], row.error)
        worst = sorted(errors, key=lambda blob: -errors[blob])
        return [blob for index, blob in enumerate(worst) if blob in shown or index < _WORST]

    def to_json(self) -> str:
        """The report as compact JSON: for each implementation its version, verdict and worst error, and for each
        blob ``[error, cosine, numbers]``. An error that is infinite is null."""
        return json.dumps(
            {
                "passed": self.passed,
                "network": self.network,
                "inputs": self.inputs,
                "runtime": self.runtime,
                "implementations": [_entry(comparison) for comparison in self.comparisons],
            },
            separators=(",", ":"),
            allow_nan=False,
        )


def compare(blob: str, found: NDArray[Any], expected: NDArray[Any], limit: float, note: str = "") -> Row:
    """Measure how far a blob is from what it should be.

    Parameters
    ----------
    blob : str
    found : ndarray
        Of the converted network.
    expected : ndarray
        Of the implementation it is held against.
    limit : float
        Largest error allowed.
    note : str

    Returns
    -------
    Row
    """
    row = Row(blob, int(expected.size), math.inf, 0.0, limit, note)
    if found.shape != expected.shape:
        return replace(row, note=f"shape {found.shape} where {expected.shape} is expected")
    with np.errstate(over="ignore"):  # What is beyond single precision is infinite in Caffe.
        single = expected.astype(np.float32)
    # NaN, infinities and -FLT_MAX would swallow all other differences: they have to be in the same places.
    odd = ~np.isfinite(single) | (np.abs(single) == _FLT_MAX)
    if not np.array_equal(found[odd], single[odd], equal_nan=True) or not np.isfinite(found[~odd]).all():
        return replace(row, note="NaN, infinity or -FLT_MAX in other places than expected")
    ours, theirs = found[~odd].astype(np.float64), expected[~odd].astype(np.float64)
    difference = float(np.abs(ours - theirs).max(initial=0.0))
    largest = float(np.abs(theirs).max(initial=0.0))
    error = difference / largest if largest else (math.inf if difference else 0.0)
    return replace(row, error=error, cosine=_cosine(ours, theirs))


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    if not lengths:
        return float(not a.any() and not b.any())
    return min(1.0, max(-1.0, float(np.vdot(a, b)) / lengths))


def _entry(comparison: Comparison) -> dict[str, Any]:
    worst = comparison.worst
    return {
        "name": comparison.implementation,
        "version": comparison.version,
        "binding": comparison.binding,
        "passed": comparison.passed if worst else None,
        "limit": worst.limit if worst else None,
        "worst": {"blob": worst.blob, "error": _number(worst.error)} if worst else None,
        "note": comparison.note,
        "blobs": {row.blob: [_number(row.error), _number(row.cosine, 7), row.numbers] for row in comparison.rows},
    }


def _number(value: float, digits: int = 2) -> float | None:
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def _cells(row: Row | None) -> str:
    if row is None:
        return f"{'-':>10}{'-':>11}"
    return f"{row.error:>9.1e}{' ' if row.passed else '!'}{row.cosine:>11.7f}"


def _shortened(name: str, width: int) -> str:
    if len(name) <= width:
        return name
    head = (width - 3) // 2
    return f"{name[:head]}...{name[head + 3 - width :]}"
