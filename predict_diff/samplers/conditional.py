"""The conditional distribution of some variables of a Gaussian given the others (eq. 5).

Covariances of photos are near-singular: neighbouring pixels all but determine each other. Both steps
below are therefore one factorisation that survives it, Cholesky's with pivoting and a cut-off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .exact import exact_product, fixed_point

# A variable whose variance, given the variables before it, has fallen to this share of its own variance
# counts as a linear function of them: it is neither conditioned on nor varied. Rounding errors lie near
# 1e-14; the grey levels of a photo are rounded to 8 bits, a share near 1e-5.
CUTOFF = 1e-10

# How many variables are eliminated between two updates of the whole matrix; affects the time only.
PANEL = 64


@dataclass(frozen=True)
class Clipped:
    """What the cut-off left out.

    Parameters
    ----------
    given : int
        Given variables not conditioned on, since the other given ones determine them.
    given_share : float
        Their variance given the others, as a share of the variance of all given variables.
    drawn : int
        Directions in which the drawn variables do not vary.
    drawn_share : float
        The variance in these directions, as a share of the variance of all drawn variables.
    """

    given: int
    given_share: float
    drawn: int
    drawn_share: float


@dataclass(frozen=True)
class Conditional:
    """Drawn variables x1 given variables x2: mean mu1 + regression (x2 - mu2), covariance root root^T.

    Parameters
    ----------
    regression : ndarray, shape (drawn, given), float64
        Sigma12 Sigma22^-1.
    root : ndarray, shape (drawn, drawn), float64
        A square root of Sigma11 - Sigma12 Sigma22^-1 Sigma21; trailing columns may be zero.
    clipped : Clipped
        What the cut-off left out.
    """

    regression: NDArray[np.float64]
    root: NDArray[np.float64]
    clipped: Clipped


def condition(
    covariance: NDArray[np.float64], drawn: NDArray[np.int64], given: NDArray[np.int64], cutoff: float = CUTOFF
) -> Conditional:
    """Condition a Gaussian.

    Parameters
    ----------
    covariance : ndarray, shape (D, D), float64
        Symmetric, positive semidefinite; may be singular.
    drawn, given : ndarray of int
        Indices of the variables to draw, and of those they are conditioned on.
    cutoff : float
        See `CUTOFF`.
    """
    variances = covariance.diagonal()
    conditioned, pivots, others, remainder = _eliminate(covariance, given, cutoff * variances)
    regression = np.zeros((len(drawn), len(given)))
    # Where each pivot stands among the given variables.
    place = np.zeros(len(covariance), np.int64)
    place[given] = np.arange(len(given))
    regression[:, place[pivots]] = _solve_lower(conditioned[drawn], conditioned[pivots])

    among_others = np.searchsorted(others, drawn)
    conditional = remainder[np.ix_(among_others, among_others)]
    varied, _, fixed, rest = _eliminate(conditional, np.arange(len(drawn)), cutoff * variances[drawn])
    root = np.zeros((len(drawn), len(drawn)))
    root[:, : varied.shape[1]] = varied
    clipped = Clipped(
        given=len(given) - len(pivots),
        given_share=_share(remainder.diagonal()[np.isin(others, given)], variances[given]),
        drawn=len(fixed),
        drawn_share=_share(rest.diagonal(), variances[drawn]),
    )
    return Conditional(regression, root, clipped)


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> float:
    # Rounding leaves variances of determined variables slightly below zero.
    total = np.maximum(whole, 0).sum()
    return float(np.maximum(part, 0).sum() / total) if total > 0 else 0.0


def _eliminate(
    covariance: NDArray[np.float64], variables: NDArray[np.int64], limits: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Cholesky's factorisation with pivots, largest variance first, taken among some variables.

    Returns
    -------
    columns : ndarray, shape (D, rank)
        Columns of the factor; ``columns[pivots]`` is lower triangular.
    pivots : ndarray, shape (rank,)
        The variables eliminated, in order.
    others : ndarray, shape (D - rank,)
        The other variables, in ascending order.
    remainder : ndarray, shape (D - rank, D - rank)
        ``covariance - columns columns^T`` of the others: their covariance given the pivots.
    """
    size = len(covariance)
    others, remainder = np.arange(size), covariance
    eligible = np.zeros(size, bool)
    eligible[variables] = True
    columns, pivots = [np.empty((size, 0))], [np.empty(0, np.int64)]
    while True:
        panel, chosen = _eliminate_panel(remainder, eligible, limits)
        if not len(chosen):
            return np.concatenate(columns, axis=1), np.concatenate(pivots), others, remainder
        columns.append(np.zeros((size, len(chosen))))
        columns[-1][others] = panel.T
        pivots.append(others[chosen])
        rest = np.delete(np.arange(len(others)), chosen)
        update = fixed_point(np.ascontiguousarray(panel[:, rest].T), parts=3)
        remainder = remainder[np.ix_(rest, rest)] - exact_product(update, update)
        others, eligible, limits = others[rest], eligible[rest], limits[rest]


def _eliminate_panel(
    covariance: NDArray[np.float64], eligible: NDArray[np.bool_], limits: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The factor's next columns, at most `PANEL` of them, as rows, and their pivots."""
    variances = covariance.diagonal().copy()
    pending = eligible.copy()
    panel = np.zeros((PANEL, len(covariance)))
    pivots: list[int] = []
    for step in range(PANEL):
        candidates = pending & (variances > limits)
        if not candidates.any():
            break
        pivot = int(np.argmax(np.where(candidates, variances, -np.inf)))
        column = covariance[pivot] - (panel[:step] * panel[:step, pivot, None]).sum(axis=0)
        column /= np.sqrt(variances[pivot])
        variances -= column * column
        panel[step] = column
        pending[pivot] = False
        pivots.append(pivot)
    return panel[: len(pivots)], np.array(pivots, np.int64)


def _solve_lower(right: NDArray[np.float64], triangle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve ``solution @ triangle = right`` for a lower triangular matrix, from the last column to the first."""
    solution = right.copy()
    for start in reversed(range(0, len(triangle), PANEL)):
        stop = min(start + PANEL, len(triangle))
        for column in reversed(range(start, stop)):
            solution[:, column] /= triangle[column, column]
            solution[:, start:column] -= solution[:, column, None] * triangle[column, start:column]
        if start:
            known = fixed_point(np.ascontiguousarray(solution[:, start:stop]), parts=3)
            coefficients = fixed_point(np.ascontiguousarray(triangle[start:stop, :start].T), parts=3)
            solution[:, :start] -= exact_product(known, coefficients)
    return solution
