"""The pages of a study: what they say, and where their links lead."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from study_home import MakeStudy, write_study
from tiny_home import noise

from predict_diff.plot import overlay
from reproduce.studies import page
from reproduce.studies.thumbnails import SIDE, drawn

pytest_plugins = ("study_home",)

OUT = Path("results/insects")


class Links(HTMLParser):
    """All that a page leads to, or shows."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.found: list[Path] = []
        self._folder = path.parent
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [self._folder / unquote(value) for name, value in attributes if name in ("href", "src") and value]


def text(path: Path) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", path.read_text(encoding="utf-8")))


def test_the_page_says_what_there_is_and_leads_to_the_files(make: MakeStudy, home: Path) -> None:
    write_study(home)
    (home / "photos" / "bad #1?.png").write_bytes(b"no picture")
    Image.fromarray(noise(8)).save(home / "photos" / "50 % off.png")
    assert make(title="Bees & <i>ants</i>").code == 2
    found = text(OUT / "index.html")
    assert "Bees & <i>ants</i>" in found
    assert "6 of 8 done, 2 failed" in found
    assert "k = 6, l = 8, S = 2, stride 6" in found
    assert found.count("bad #1?.png: expected a picture") == 2
    links = Links(OUT / "index.html").found
    assert all(link.exists() for link in links), links
    assert len([link for link in links if link.suffix == ".h5"]) == 6
    assert len([link for link in links if link.suffix == ".png"]) == 6
    assert "<script" not in (OUT / "index.html").read_text()
    assert "Content-Security-Policy" in (OUT / "index.html").read_text()


def test_maps_are_spread_over_pages_and_pages_too_many_are_deleted(
    make: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "MAPS_A_PAGE", 3)
    make(seeds=[0, 1, 2, 3])
    paths = [OUT / "index.html", OUT / "pages" / "0002.html", OUT / "pages" / "0003.html"]
    assert sorted((OUT / "pages").iterdir()) == paths[1:]
    maps = [[link for link in Links(path).found if link.suffix == ".h5"] for path in paths]
    assert [len(some) for some in maps] == [3, 3, 2]
    assert len({link.resolve() for some in maps for link in some}) == 8
    for path in paths:
        links = Links(path).found
        assert all(link.exists() for link in links)
        assert {other.resolve() for other in paths} >= {link.resolve() for link in links if link.suffix == ".html"}
    make(seeds=[0, 1])
    assert sorted((OUT / "pages").iterdir()) == paths[1:2]


def test_a_shard_has_pages_of_its_own(make: MakeStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MAPS_A_PAGE", 1)
    make("--shard", "2/2")
    assert (OUT / "index-2of2.html").is_file()
    assert [path.name for path in (OUT / "pages-2of2").iterdir()] == ["0002.html"]
    assert not (OUT / "index.html").exists()


def test_a_thumbnail_shows_the_map_over_its_photo() -> None:
    generator = np.random.default_rng(0)
    coarse = generator.standard_normal((SIDE // 8, SIDE // 8))
    relevance = np.kron(coarse, np.ones((16, 16)))  # of 2 x 2 pixels of the thumbnail each, and more
    view = np.kron(generator.random((SIDE // 8, SIDE // 8, 3), np.float32), np.ones((16, 16, 1), np.float32))
    picture = np.asarray(drawn(relevance, view).convert("RGB"), np.float64) / 255
    expected = overlay(view, relevance)[::2, ::2]
    assert picture.shape == (SIDE, SIDE, 3)
    assert np.abs(picture - expected).mean() < 0.03


@pytest.mark.parametrize("shape", [(32, 32), (300, 200), (1, 500)])
def test_thumbnails_keep_their_shape(shape: tuple[int, int]) -> None:
    picture = drawn(np.ones(shape), np.zeros((*shape, 3), np.float32))
    factor = min(1, SIDE / max(shape))
    assert picture.size == tuple(max(1, round(side * factor)) for side in shape[::-1])


def test_thumbnails_are_made_once(make: MakeStudy) -> None:
    make()
    before = {path: path.stat().st_mtime_ns for path in (OUT / "thumbnails").iterdir()}
    assert len(before) == 4
    (OUT / "study.sqlite").unlink()
    make()
    assert {path: path.stat().st_mtime_ns for path in (OUT / "thumbnails").iterdir()} == before
