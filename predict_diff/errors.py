"""The one family of errors that bad input ends in.

A message says what was expected, what was found, where, and what to do about it, in one line. The
command line prints that line and exits with code 2; anything else that escapes is a bug.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Letters of a message, and of a value in one: names and values may come from files that anyone has written.
_MESSAGE_AT_MOST, _VALUE_AT_MOST = 2000, 160


class PredictDiffError(Exception):
    """Base class: whatever the user can mend.

    Its message is one line, whatever names and values are in it.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(on_one_line(str(message), _MESSAGE_AT_MOST))


class ConversionError(PredictDiffError):
    """A Caffe description or weights file that cannot be converted."""


class NetworkError(PredictDiffError):
    """A network that cannot be found, loaded or run, or a blob or unit that it does not have."""


class SamplerError(PredictDiffError):
    """Settings or photos from which a sampler cannot draw."""


class ImageError(PredictDiffError):
    """A photo, or a folder of photos, that cannot be read."""


class ConfigurationError(PredictDiffError):
    """A setting with an unknown name, a wrong type or an impossible value."""


class ResultError(PredictDiffError):
    """A stored result that cannot be read or written."""


class DownloadError(PredictDiffError):
    """Weights that could not be fetched, or are not what was asked for."""


def on_one_line(text: str, most: int) -> str:
    """A text without line breaks, of so many letters at most: of longer ones the beginning and the end."""
    text = " ".join(text.split())
    end = most // 2
    return text if len(text) <= most else f"{text[: most - end - 5]} ... {text[-end:]}"


def in_short(value: object) -> str:
    """A value as messages show it."""
    return on_one_line(repr(value), _VALUE_AT_MOST)


def closest(name: str, known: Iterable[str], count: int = 3) -> str:
    """A hint for an unknown name.

    Parameters
    ----------
    name : str
        What the user wrote.
    known : iterable of str
        The names that exist.

    Returns
    -------
    str
        `` (did you mean 'a', 'b'?)`` with the closest known names, best first, or an empty string
        if none is close.
    """
    known = list(known)
    folded = {candidate.casefold(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.casefold(), folded, n=count, cutoff=0.5)
    if not matches:
        return ""
    return f" (did you mean {', '.join(repr(folded[match]) for match in matches)}?)"
