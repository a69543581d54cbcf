"""What an evaluation costs, incremental and mini-batched, measured in one run: ratios, not promises."""

from __future__ import annotations

import json
import logging
import multiprocessing
import signal
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from predict_diff.errors import NetworkError, PredictDiffError, ResultError
from predict_diff.network.runtime import cuda_problem
from predict_diff.storage import whole_file

from . import networks
from .measuring.case import Case, Files, prepare
from .measuring.measure import measure
from .measuring.row import Row, tables

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Embedded, and takes photos of any size.
GROWING = "efficientnet_lite0"
#: How the cost of an evaluation grows: one setting at a time.
GROWTH = {
    "k": (1, 2, 4, 8, 10, 16, 32),
    "samples": (1, 5, 10, 20, 50, 100),
    "targets": (1, 10, 100, 1000),
    "input": (64, 128, 224, 384, 512),
}


def run(
    out: Path,
    threads: int | None = None,
    names: Sequence[str] | None = None,
    growth: bool = True,
    cluster: bool = False,
) -> str:
    """Measure, write ``benchmark.json`` and return tables to read.

    Parameters
    ----------
    out : Path
        Folder of the file: a list of rows, see `reproduce.measuring.row.Row`.
    threads : int, optional
        Threads on the CPU; all cores by default.
    names : sequence of str, optional
        Networks; all that have a card by default.
    growth : bool, default True
        Whether to measure how costs grow, too.
    cluster : bool, default False
        Whether to measure instead what a cluster on this machine takes beside one process.

    Raises
    ------
    ConfigurationError
        If there is no such network.
    """
    if cluster:
        # Dask is not always installed.
        from .measuring.spreading import spread

        return spread((names or [GROWING])[0])
    chosen = [networks.card(name).name for name in names or networks.names()]
    cuda = apart(cuda_problem) is None
    rows = []
    for name in chosen:
        cases = [Case(name, threads=threads)]
        if cuda:
            cases += [replace(cases[0], provider="cuda", precision=precision) for precision in ("full", "tf32")]
        rows += measured(cases)
    if growth:
        rows += growth_rows(Case(GROWING, "cuda" if cuda else "cpu", threads=threads))
    with whole_file(out / "benchmark.json", ResultError) as file:
        file.write(json.dumps([asdict(row) for row in rows], indent=1).encode())
    return tables(rows)


def growth_rows(usual: Case) -> list[Row]:
    """A row for each value of each setting, with all others as usual; what is the same case is measured once."""
    known: dict[tuple[int, ...], Row] = {}
    rows = []
    for setting, values in GROWTH.items():
        for value in values:
            case = replace(usual, vary=setting, value=value)
            settings = case.k, case.samples, case.targets, case.input_size
            if settings not in known:
                (known[settings],) = measured([case])
            rows.append(replace(known[settings], vary=setting, value=value))
    return rows


def measured(cases: Sequence[Case]) -> list[Row]:
    """Measure cases that share their files, each in a process of its own, since peak memory is counted per process."""
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own, too: neither must weights that are converted count, nor stay in memory.
        files: Files = apart(prepare, cases[0], Path(folder))
        rows = []
        for case in cases:
            logger.info("Measuring %s.", case.title)
            rows.append(apart(measure, case, files))
        return rows


def apart(work: Callable[..., T], *arguments: Any) -> T:
    """What a call gives that is made in a process of its own, which is gone when this returns, in whatever way.

    Raises
    ------
    PredictDiffError
        If the call does.
    NetworkError
        If the process ends without an answer.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, work, arguments), daemon=True)
    process.start()
    try:
        theirs.close()
        answer = ours.recv()
    except EOFError:
        process.join()
        raise NetworkError(
            f"benchmark: expected the process that measures to give an answer, found that it ended with code "
            f"{process.exitcode}; if that is -9, the system had too little memory: choose other --networks"
        ) from None
    finally:
        process.terminate()
        process.join()
        ours.close()
    if isinstance(answer, PredictDiffError):
        raise answer
    found: T = answer
    return found


def _answer(connection: Connection, work: Callable[..., object], arguments: tuple[object, ...]) -> None:
    # Ctrl-C is for the one that waits.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        connection.send(work(*arguments))
    except PredictDiffError as error:
        connection.send(error)
