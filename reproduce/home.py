"""The folder that holds models/ and data/."""

from __future__ import annotations

import os
from pathlib import Path

from predict_diff.errors import ConfigurationError

#: Names another folder than the clone.
VARIABLE = "PREDICT_DIFF_HOME"


def root() -> Path:
    """The clone this package lies in, or the folder that PREDICT_DIFF_HOME names.

    Raises
    ------
    ConfigurationError
        If there is no folder models/ in it.
    """
    named = os.environ.get(VARIABLE)
    folder = Path(named).expanduser().resolve() if named else Path(__file__).resolve().parent.parent
    if not (folder / "models").is_dir():
        origin = f"which {VARIABLE} names" if named else "which the package lies in"
        raise ConfigurationError(
            f"expected a folder models/ in {folder}, {origin}, found none; set {VARIABLE} to a clone of this project"
        )
    return folder
