"""Matrix products that are the same however they are computed.

A BLAS adds in an order that depends on the matrices' shapes, the number of threads and the processor, and
floating-point sums depend on their order. Sums of whole numbers below 2**53 do not: float64 holds each
partial sum exactly. So matrices are cut into slices of whole numbers, short enough that no sum can exceed
2**53, and multiplied slice by slice at the full speed of the BLAS. That is how samples come to depend neither
on which windows are drawn together nor on the machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIGNIFICAND_BITS = 53


@dataclass(frozen=True)
class FixedPoint:
    """A matrix, row by row in fixed point: ``sum_i slices[i] * 2**(exponents - (i + 1) * bits)``.

    Parameters
    ----------
    slices : ndarray, shape (parts, rows, length), float64
        Whole numbers of at most `bits` bits, the coarsest slice first.
    exponents : ndarray, shape (rows,), int
        The least with ``|row| <= 2**exponent``.
    bits : int
        Bits of each slice: such that the product of any two slices of this length is exact.
    """

    slices: NDArray[np.float64]
    exponents: NDArray[np.int_]
    bits: int


def fixed_point(matrix: NDArray[np.float64], parts: int) -> FixedPoint:
    """Round a matrix to `parts` slices.

    Parameters
    ----------
    matrix : ndarray, shape (rows, length), float64
        Finite numbers.
    parts : int
        1 keeps about 22 bits of a row of 300 numbers, counted from its largest; 2 keep 44, 3 keep 66.
    """
    length = matrix.shape[1]
    bits = (SIGNIFICAND_BITS - max(length - 1, 0).bit_length()) // 2
    exponents = np.frexp(np.abs(matrix).max(axis=1, initial=0.0))[1]
    remainder = matrix * np.ldexp(1.0, bits - exponents)[:, None]
    slices = np.empty((parts, *matrix.shape))
    for part in range(parts):
        np.rint(remainder, out=slices[part])
        if part + 1 < parts:
            remainder -= slices[part]
            remainder *= 2.0**bits
    return FixedPoint(slices, exponents, bits)


def exact_product(left: FixedPoint, right: FixedPoint) -> NDArray[np.float64]:
    """The product ``left @ right.T``, to the precision of the coarser of the two.

    Parameters
    ----------
    left : FixedPoint, shape (m, length)
    right : FixedPoint, shape (n, length)

    Returns
    -------
    ndarray, shape (m, n), float64
        An element depends only on its row of `left` and its row of `right`, to the last bit.
    """
    parts = min(len(left.slices), len(right.slices))
    product = np.zeros((left.slices.shape[1], right.slices.shape[1]))
    for order in reversed(range(parts)):
        product *= 2.0**-left.bits
        for part in range(order + 1):
            other = order - part
            if left is not right:
                product += left.slices[part] @ right.slices[other].T
            elif part <= other:
                # A matrix times itself: the terms below the diagonal mirror those above.
                term = left.slices[part] @ left.slices[other].T
                product += term
                if part < other:
                    product += term.T
    product *= np.ldexp(1.0, left.exponents - left.bits)[:, None]
    product *= np.ldexp(1.0, right.exponents - right.bits)[None, :]
    return product
