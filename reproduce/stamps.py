"""Whether a file is the one that it was."""

from __future__ import annotations

from pathlib import Path


def stamp(path: str | Path) -> tuple[int, int] | None:
    """Size in bytes and time of change in ns of a file; None where there is none."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):  # ValueError: no name that a file could have
        return None
    return found.st_size, found.st_mtime_ns
