"""The HDF5 file beside a picture: a damaged one is named before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from tiny_home import CHEAP, Outcome, Reproduce, noise

from reproduce.figures.saving import refuse_damaged

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def figure(reproduce: Reproduce, home: Path) -> Reproduce:
    def run(*arguments: str) -> Outcome:
        few = ("--networks", "tiny", "--photos", "cat", "--pool", home / "pool", *CHEAP)
        return reproduce("figure4", *few, "--set", "classes=1", *arguments)

    return run


@pytest.mark.parametrize("content", [b"", b"not an HDF5 file", None], ids=["empty", "another", "cut"])
def test_a_damaged_figure_is_named_and_kept_before_anything_is_computed(figure: Reproduce, content: bytes) -> None:
    assert figure().code == 0
    stored = Path("results/figure4.h5")
    whole = stored.read_bytes()
    damaged = whole[:-100] if content is None else content
    stored.write_bytes(damaged)
    for path in Path("results/maps").iterdir():
        path.unlink()
    error = figure().error
    assert error.startswith("results/figure4.h5: expected the arrays of a figure (HDF5), but it cannot be read")
    assert "--force" in error
    assert stored.read_bytes() == damaged
    assert not list(Path("results/maps").iterdir())
    outcome = figure("--force")
    assert outcome.code == 0
    assert outcome.err.count("it is made again") == 1
    refuse_damaged(Path("results/figure4"))
    assert figure().code == 0


def test_a_damaged_explanation_is_named_and_kept_too(explain: Reproduce) -> None:
    stored = explain("--sampler", "marginal").files[2]
    stored.write_bytes(b"damaged")
    error = explain("--sampler", "marginal", "--seed", "1").error
    assert error.startswith(f"{stored}: expected the arrays of a figure (HDF5)")
    assert stored.read_bytes() == b"damaged"
    assert len(list(Path("results/maps").iterdir())) == 1
    assert explain("--sampler", "marginal", "--force").code == 0
    assert stored.read_bytes() != b"damaged"


def test_a_folder_in_its_place_is_named_even_with_force(figure: Reproduce) -> None:
    Path("results/figure4.h5").mkdir(parents=True)
    assert figure("--force").error.startswith("results/figure4.h5: expected the arrays of a figure")
    assert not Path("results/maps").exists()


def test_photos_whose_names_hold_dots_have_files_of_their_own(explain: Reproduce, home: Path) -> None:
    for number in (1, 2):
        Image.fromarray(noise(number)).save(home / "data" / "photos" / f"cat.{number}.png")
    files = [path for n in (1, 2) for path in explain("--sampler", "marginal", photo=f"cat.{n}.png").files]
    assert len(set(files)) == 6
    assert all(path.is_file() for path in files)
