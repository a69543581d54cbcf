"""Arrays of other libraries, and what NumPy would leave out of them in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from predict_diff.errors import ImageError, NetworkError, PredictDiffError
from predict_diff.given_arrays import as_floats, given_array

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8))
NUMBERS = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("given", [NUMBERS, NUMBERS.tolist(), np.ma.masked_array(NUMBERS), np.asfortranarray(NUMBERS)])
def test_numbers_are_taken_from_anything(given: Any) -> None:
    np.testing.assert_array_equal(given_array(given, "image"), NUMBERS)


@pytest.mark.parametrize("mode", ["RGB", "L", "F", "RGBA"])
def test_pictures_are_taken_where_their_numbers_are_what_they_look_like(mode: str) -> None:
    np.testing.assert_array_equal(given_array(PICTURE.convert(mode), "photo"), np.asarray(PICTURE.convert(mode)))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (np.ma.masked_array(NUMBERS, NUMBERS > 3), "a masked array"),
        (PICTURE.convert("P"), r"mode P; give its .convert\('RGB'\)"),  # numbers of a palette's colours
        (PICTURE.convert("CMYK"), "mode CMYK"),
        (PICTURE.convert("HSV"), "mode HSV"),
        (PICTURE.convert("1"), "mode 1"),
        ("cat.jpg", "a text or path; read the file first"),
        (Path("cat.jpg"), "a text or path"),
        ([[1, 2], [3]], "found list, of which NumPy makes none"),
    ],
)
def test_the_rest_is_refused(given: Any, problem: str) -> None:
    with pytest.raises(ImageError, match=f"^photo 3: expected.*{problem}"):
        given_array(given, "photo 3")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (NUMBERS.astype(object), "found object"),
        (NUMBERS + 1j, "found complex128"),
        (NUMBERS > 2, "found bool"),
        (NUMBERS * np.nan, "found NaN or infinity"),
        (NUMBERS * 1e300, r"found 5e\+300, beyond float32"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_only_numbers_that_float32_can_hold_are_floats(values: Any, problem: str) -> None:
    with pytest.raises(NetworkError, match=problem):
        as_floats(values, "image", NetworkError)


def test_a_message_is_one_line_of_bounded_length_whatever_is_in_it() -> None:
    assert str(PredictDiffError("a\nb\r\n c")) == "a b c"
    found = str(PredictDiffError("start " + "x" * 100_000 + " end"))
    assert len(found) <= 2000
    assert found.startswith("start x")
    assert found.endswith("x end")
