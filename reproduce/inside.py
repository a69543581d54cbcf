"""Names from configurations, as paths that stay in their folder."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from predict_diff.errors import ConfigurationError

#: Bytes that a name may have with most file systems.
_LONGEST = 255

#: What Windows takes for a drive, a stream, a device or another folder. A study made on Linux may be read there.
_WINDOWS = re.compile(r'[\\:<>"|?*]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)


def inside(folder: Path, name: str, what: str, links: bool = False) -> Path:
    """The path of a file or folder that a configuration names, within a folder.

    Parameters
    ----------
    folder : Path
        Which it must not leave. May itself be reached over links: whoever runs the program has chosen it.
    name : str
        As the configuration has it: names with ``/`` between them.
    what : str
        What the name is for, with the configuration's own name: ``models/alexnet/model.yaml: weights.file``.
    links : bool, default False
        Whether what lies there may be a link that leads out of the folder. Only for files that are believed for their
        hash or their contents, not for their place: weights are large, and people keep them elsewhere.

    Returns
    -------
    Path
        ``folder / name``. There need not be anything.

    Raises
    ------
    ConfigurationError
        If the name is empty or absolute, has a part such as ``..``, a letter that is not printable or means something
        to Windows, or what lies there is a link that leads out of the folder.
    """
    problem = name_problem(name)
    if problem is None and not links and not _leads_inside(folder, folder / name):
        problem = "a link that leads out of it"
    if problem is not None:
        raise ConfigurationError(
            f"{what}: expected a name within {folder}, found {problem} ({name[:80]!r}); correct it"
        )
    return folder / name


def name_problem(name: str) -> str | None:
    """What makes a name one that could leave its folder, here or on another system; None if nothing does."""
    parts = name.split("/")
    if not name:
        return "an empty one"
    if PurePosixPath(name).is_absolute():
        return "an absolute path"
    if any(part in ("", ".", "..") for part in parts):
        return "a part that is no name"
    if not name.isprintable():
        return "letters that cannot be printed"
    if any(_WINDOWS.search(part) for part in parts):
        return "a name that Windows takes for something else"
    if any(len(part.encode(errors="replace")) > _LONGEST for part in parts):
        return f"a name of more than {_LONGEST} bytes"
    return None


def _leads_inside(folder: Path, path: Path) -> bool:
    """Whether a path, every link followed, lies in a folder. A link into itself leads nowhere."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return False
