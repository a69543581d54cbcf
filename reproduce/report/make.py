"""Make what is missing of figures and verdicts, and write the page."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from predict_diff.errors import ResultError
from predict_diff.storage import whole_file

from ..claims import read_claims, verify
from ..figures.make import figure_names, make_figure, read_figure
from ..figures.saving import refuse_damaged
from ..forecast import check_folder
from ..request import Request
from ..verifying.record import Verdicts, read_verdicts
from .made_figures import MadeFigure, read_shown
from .page import Contents, page

logger = logging.getLogger(__name__)


def make_report(request: Request, names: Sequence[str] | None = None, check_claims: bool = True) -> Path:
    """Write ``report.html`` into the folder for results; maps and verdicts that are there are not computed again.

    Parameters
    ----------
    request : Request
    names : sequence of str, optional
        Figures; all by default.
    check_claims : bool
        Whether claims that have no verdict yet are checked. The page shows the verdicts that are there in any case.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    PredictDiffError
        For whatever the user can mend; then no page is written.
    """
    out = request.choices.out
    chosen = list(dict.fromkeys(names or figure_names()))
    # First what is quick, so that what is wrong shows before hours are spent.
    for name in chosen:
        read_figure(name, request)
    check_folder(out)
    if not request.choices.force:  # else each figure says that it is made again
        for name in chosen:
            refuse_damaged(out / name)
    claims = read_claims().claims
    verdicts = _stored_verdicts(out / "verify.json", request.choices.force and check_claims)
    if check_claims and verdicts and not request.choices.force:
        verify(_on_one_gpu(request), [])  # refuses verdicts that do not belong to this request
    figures = [_made(name, request) for name in chosen]
    if check_claims:
        verdicts = _complete(verdicts, [claim.id for claim in claims], request)
    text = page(Contents(request, figures, verdicts, claims, tuple(chosen) if names else None, check_claims))
    path = out / "report.html"
    with whole_file(path, ResultError) as file:
        # Names of files may hold what is no UTF-8.
        file.write(text.encode("utf-8", "backslashreplace"))
    return path


def _stored_verdicts(path: Path, replace: bool) -> Verdicts | None:
    """The verdicts that are there. ResultError if they cannot be read, unless they may be replaced."""
    if not path.exists():
        return None
    try:
        return read_verdicts(path)
    except ResultError as damage:
        if not replace:
            raise
        logger.warning("%s; it is made again.", str(damage).split(";")[0])
        return None


def _complete(stored: Verdicts | None, known: Sequence[str], request: Request) -> Verdicts:
    """Check the claims that have no verdict yet.

    Raises
    ------
    ResultError
        If the verdicts that are there were found with other settings, networks or photos, unless they may be replaced.
    """
    alone = _on_one_gpu(request)
    found = verify(alone, _without_verdict(known, stored)) if stored else verify(alone)
    left_out = _without_verdict(known, found)
    return verify(alone, left_out) if left_out else found


def _on_one_gpu(request: Request) -> Request:
    """Figures may be spread over several GPUs, claims are not."""
    return request.on_gpu(request.gpus[0]) if len(request.gpus) > 1 else request


def _without_verdict(known: Sequence[str], verdicts: Verdicts) -> list[str]:
    there = {finding.id for finding in verdicts.claims}
    return [name for name in known if name not in there]


def _made(name: str, request: Request) -> MadeFigure:
    png, _, arrays = make_figure(name, request)
    configuration = read_figure(name, request)
    return MadeFigure(name, configuration.title, configuration.shows, png, read_shown(arrays))
