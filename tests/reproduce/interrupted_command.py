"""The command line, for processes that are stopped in the middle; see `interruptions`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib.figure

from predict_diff.network import minibatch
from predict_diff.network.incremental import IncrementalEvaluator
from predict_diff.network.minibatch import MiniBatchEvaluator
from reproduce import cli, commands, config  # noqa: F401 - so that forked processes need not
from reproduce.figures import make  # noqa: F401

#: S in these runs, by which their evaluations are told from trials of a network's speed.
SAMPLES = 2

#: Where it is written down who evaluates which windows.
LOG = "evaluated"


def reproduce(folder: str, home: str, arguments: list[str], pause: float) -> int:
    """Run the command line as `python -m reproduce` does, but in small parts, each of which takes a while.

    Parameters
    ----------
    folder : str
        Where it is run.
    home : str
        With networks and photos.
    arguments : list of str
    pause : float
        Seconds that every part takes at least.
    """
    os.chdir(folder)
    os.environ["PREDICT_DIFF_HOME"] = home
    sys.argv = ["reproduce", *arguments]
    minibatch._SAMPLES_AT_ONCE = 4 * SAMPLES
    known = config.named_settings()
    variants = {name: variant.model_copy(update={"patches": 1000}) for name, variant in known.variants.items()}
    config.named_settings = lambda: known.model_copy(update={"variants": variants})  # type: ignore[assignment]
    matplotlib.figure.Figure.savefig = lambda picture, file, **_: file.write(b"picture")  # type: ignore[method-assign]
    for kind in (MiniBatchEvaluator, IncrementalEvaluator):
        kind.evaluate = _watched(kind.evaluate, pause)  # type: ignore[method-assign, assignment]
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _watched(evaluate: Any, pause: float) -> Any:
    log = Path(LOG).resolve()

    def watched(evaluator: Any, x: Any, windows: Any, patches: Any) -> Any:
        if patches.shape[1] == SAMPLES:
            places = " ".join(f"{row},{column}" for row, column in windows)
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(handle, f"{os.getpid()} {places}\n".encode())
            os.close(handle)
            time.sleep(pause)
        return evaluate(evaluator, x, windows, patches)

    return watched
