"""Exact products: no bit depends on the order of summation, on the other rows or on the BLAS."""

from fractions import Fraction

import numpy as np
import pytest

from predict_diff.samplers.exact import exact_product, fixed_point


@pytest.fixture
def matrices():
    random = np.random.default_rng(3)
    # Rows of very different sizes, one of them zero.
    left = random.standard_normal((6, 300)) * np.array([1, 1e-9, 1e7, 0, 300, 1])[:, None]
    return left, random.standard_normal((5, 300))


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_the_order_of_summation_does_not_matter(matrices, parts):
    left, right = matrices
    order = np.random.default_rng(4).permutation(300)
    there = exact_product(fixed_point(left, parts), fixed_point(right, parts))
    back = exact_product(fixed_point(left[:, order], parts), fixed_point(right[:, order], parts))
    assert np.array_equal(there, back)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_an_element_depends_on_its_two_rows_only(matrices, parts):
    left, right = matrices
    whole = exact_product(fixed_point(left, parts), fixed_point(right, parts))
    for row in range(len(left)):
        for column in range(len(right)):
            alone = exact_product(
                fixed_point(left[row : row + 1], parts), fixed_point(right[column : column + 1], parts)
            )
            assert alone[0, 0] == whole[row, column]


def test_a_product_of_single_slices_is_that_of_the_rounded_matrices_exactly(matrices):
    left, right = (fixed_point(matrix, 1) for matrix in matrices)
    product = exact_product(left, right)
    for row in range(6):
        for column in range(5):
            whole = sum(int(a) * int(b) for a, b in zip(left.slices[0, row], right.slices[0, column], strict=True))
            scale = Fraction(2) ** int(left.exponents[row] + right.exponents[column] - left.bits - right.bits)
            assert Fraction(float(product[row, column])) == whole * scale


@pytest.mark.parametrize(("parts", "bits"), [(1, 22), (2, 44), (3, 66)])
def test_each_slice_adds_22_bits(matrices, parts, bits):
    left, right = matrices
    exact = [
        [sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(row, column, strict=True)) for column in right]
        for row in left
    ]
    product = exact_product(fixed_point(left, parts), fixed_point(right, parts))
    # Each of 300 terms is off by at most (parts + 1) half units in the last place kept, and float64 rounds the result.
    scale = np.abs(left).max(axis=1)[:, None] * np.abs(right).max(axis=1)[None, :]
    bound = 300 * scale * ((parts + 1) * 4 * 2.0**-bits + 2.0**-53)
    assert (np.abs(product - np.array(exact, float)) <= bound).all()


def test_the_longest_rows_still_fit_into_53_bits():
    largest = np.full((1, 4097), 1 - 2.0**-53)
    rounded = fixed_point(largest, 1)
    assert 4097 * rounded.slices.max() ** 2 <= 2**53
    assert exact_product(rounded, rounded)[0, 0] == 4097
