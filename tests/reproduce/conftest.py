"""A home with one tiny network, and the command line called from Python."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image
from tiny_home import CHEAP, LABELS, PROJECT, Outcome, Reproduce, add_network, noise

from reproduce import cli, config
from reproduce.figures import saving


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """models/tiny with its weights, data/, and a folder `pool` of photos; the command line is told to use it."""
    folder = tmp_path / "home"
    add_network(folder, "tiny")
    (folder / "data" / "photos").mkdir(parents=True)
    shutil.copy(PROJECT / "data" / "photos.yaml", folder / "data")
    (folder / "data" / "tiny_labels.txt").write_text(LABELS)
    for number in range(12):
        place = folder / "pool" / f"{number:02}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(noise(100 + number)).save(place)
    Image.fromarray(noise(1)).save(folder / "data" / "photos" / "cat.png")
    monkeypatch.setenv("PREDICT_DIFF_HOME", str(folder))
    return folder


@pytest.fixture
def reproduce(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> Reproduce:
    """Run the command line in a folder of its own, as `reproduce(*arguments)`.

    Pictures are small and the Gaussian is fitted on few patches, to save time.
    """
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(saving, "_RESOLUTION", 20)
    known = config.named_settings()
    variants = {name: variant.model_copy(update={"patches": 1000}) for name, variant in known.variants.items()}
    monkeypatch.setattr(config, "named_settings", lambda: known.model_copy(update={"variants": variants}))

    def run(*arguments: str | Path) -> Outcome:
        capfd.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        assert not list(tmp_path.rglob("*.part"))
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def explain(reproduce: Reproduce, home: Path) -> Reproduce:
    """Run `reproduce explain cat --network tiny ...` at little cost; what is given goes before these settings."""

    def run(*arguments: str | Path, photo: str | Path = "cat", network: str | Path = "tiny") -> Outcome:
        return reproduce("explain", photo, "--network", network, *CHEAP, "--pool", home / "pool", *arguments)

    return run


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take longest; where nobody looks at them, a few bytes stand for them."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda picture, file, **settings: file.write(b"picture"))
