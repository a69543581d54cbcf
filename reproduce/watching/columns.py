"""Text in the columns of a terminal, where some letters take two, and some would do harm."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def printable(text: str) -> str:
    """One line without what moves a terminal's cursor or changes its colours: names in files are not to be trusted."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def width(text: str) -> int:
    """How many columns a text takes."""
    return sum(_width(letter) for letter in text)


def shortened(text: str, columns: int) -> str:
    """A text that fits into so many columns; dots stand for its middle."""
    if width(text) <= columns:
        return text
    dots = "..."[:columns]
    room = columns - len(dots)
    return _start(text, room - room // 2) + dots + _start(text[::-1], room // 2)[::-1]


def cut(text: str, columns: int) -> str:
    """The beginning of a text, as far as it fits."""
    return _start(text, columns)


def aligned(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Rows of as many cells, as lines; columns flush left, or flush right, with two spaces between.

    Parameters
    ----------
    rows : sequence of sequence of str
    right : sequence of bool
        Which columns are flush right.
    """
    widths = [max(map(width, cells)) for cells in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for cell, columns, flush_right in zip(row, widths, right, strict=True):
            space = " " * (columns - width(cell))
            cells.append(space + cell if flush_right else cell + space)
        lines.append("  ".join(cells).rstrip())
    return lines


def _width(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _start(text: str, columns: int) -> str:
    found, used = [], 0
    for letter in text:
        used += _width(letter)
        if used > columns:
            break
        found.append(letter)
    return "".join(found)
