"""The report in a real browser: a headless Chromium, spoken to through pipes (the DevTools protocol)."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from test_documentation import site as built_site
from test_report import finding, verdicts
from tiny_home import CHEAP, Reproduce, noise

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (chromium, chromium-browser, google-chrome) is installed"),
]

#: What browsers report of a page's troubles, and of what it fetches.
TROUBLE = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Security.certificateError")
REQUEST = "Network.requestWillBeSent"


class Browser:
    """One page in a headless Chromium.

    Attributes
    ----------
    events : list of dict
        What the browser has told so far.
    """

    def __init__(self, folder: Path) -> None:
        os.mkfifo(folder / "commands")
        os.mkfifo(folder / "answers")
        # The sandbox needs rights that containers do not give; the page is ours.
        chromium = (str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
        quiet = ("--no-first-run", "--disable-background-networking", f"--user-data-dir={folder / 'profile'}")
        # Chromium reads commands from file 3 and writes answers to file 4.
        shell = ("sh", "-c", 'exec "$@" 3<commands 4>answers', "sh")
        self.process = subprocess.Popen(
            [*shell, *chromium, *quiet, "--remote-debugging-pipe"], cwd=folder, stderr=subprocess.DEVNULL
        )
        self._commands = (folder / "commands").open("wb", buffering=0)
        self._answers = (folder / "answers").open("rb")
        self._unread = b""
        self._count = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime", "Security"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command, and wait for its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, page: Path, width: int) -> None:
        """Show a page in a window of so many pixels, and wait until all of it is there."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.events.clear()
        self.ask("Page.navigate", url=page.absolute().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is on the page."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]

    def screenshot(self) -> Image.Image:
        """The whole page."""
        data = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        return Image.open(io.BytesIO(base64.b64decode(data)))

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        self._commands.close()
        self._answers.close()

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            read = os.read(self._answers.fileno(), 1 << 16)
            assert read, "the browser has ended"
            self._unread += read
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("browser"))
    yield opened
    opened.close()


@pytest.fixture
def page(reproduce: Reproduce, home: Path) -> Path:
    """A report with a figure, a claim of each verdict, and a photo whose name would be a script."""
    photo = home / "data" / "photos" / "<script>document.title = 'run'<!--.png"
    Image.fromarray(noise(3)).save(photo)
    words = ("reproduced", "deviates", "not measurable here")
    verdicts([finding(f"claim{number}", word) for number, word in enumerate(words)]).write(Path("results/verify.json"))
    few = ("--networks", "tiny", "--photos", photo, "--pool", home / "pool", *CHEAP)
    (path,) = reproduce("report", "--figures", "figure1", "--no-verify", *few).files
    return path


site = built_site


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_of_a_comparison_renders(reproduce: Reproduce, home: Path, browser: Browser, width: int) -> None:
    Image.fromarray(noise(4)).save(home / "data" / "photos" / "ant.png")
    comparison = home / "insects.yaml"
    methods = ["sensitivity", {"method": "random", "name": "a-name-without-a-place-to-break-it-that-is-rather-long"}]
    fields = {"title": "Insects", "photos": ["ant"], "networks": ["tiny"], "methods": methods}
    comparison.write_text(yaml.safe_dump({**fields, "measures": ["deletion", "sparsity", "total_variation"]}))
    page = reproduce("compare", comparison, "--pool", home / "pool", *CHEAP).files[0]
    browser.open(page, width)
    assert [event for event in browser.events if event["method"] in TROUBLE] == []
    assert browser.value("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert browser.value("document.images.length") == 3
    fetched = [event["params"]["request"]["url"] for event in browser.events if event["method"] == REQUEST]
    assert fetched[0] == page.absolute().as_uri()
    assert all(url.startswith(("data:image/png;base64,", "data:image/jpeg;base64,")) for url in fetched[1:])
    assert browser.value("document.documentElement.scrollWidth <= window.innerWidth")
    # Many columns would be too small on a narrow screen: they scroll by themselves.
    assert browser.value("document.querySelector('.maps img').clientWidth") >= 56 * 16


@pytest.mark.parametrize("width", [1280, 1000, 400])
def test_many_measures_do_not_widen_the_page(reproduce: Reproduce, home: Path, browser: Browser, width: int) -> None:
    Image.fromarray(noise(4)).save(home / "data" / "photos" / "ant.png")
    comparison = home / "insects.yaml"
    measures = [{"measure": "sparsity", "name": f"how sparse it is, {number}"} for number in range(14)]
    fields = {"title": "Insects", "photos": ["ant"], "networks": ["tiny"], "methods": ["sensitivity"]}
    comparison.write_text(yaml.safe_dump({**fields, "measures": measures}))
    browser.open(reproduce("compare", comparison, "--pool", home / "pool", *CHEAP).files[0], width)
    assert browser.value("document.querySelectorAll('.measured td').length") == len(measures) + 2
    assert browser.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.parametrize("width", [1280, 400])
def test_pages_of_the_documentation_are_as_wide_as_the_window(site: Path, browser: Browser, width: int) -> None:
    for path in sorted(site.rglob("*.html")):
        if path.name not in ("genindex.html", "py-modindex.html", "search.html"):
            browser.open(path, width)
            wide = browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{path.relative_to(site)}: {wide} pixels too wide"


@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_renders(page: Path, browser: Browser, width: int) -> None:
    browser.open(page, width)
    assert [event for event in browser.events if event["method"] in TROUBLE] == []
    assert browser.value("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert browser.value("document.images.length") == 1
    assert browser.value("document.title") == "Prediction difference analysis: figures and claims"
    # Nothing is wider than the window: one scrolls down, never sideways.
    assert browser.value("document.documentElement.scrollWidth <= window.innerWidth")
    seen = np.asarray(browser.screenshot().convert("RGB"))
    assert seen.shape[0] > 1000
    assert tuple(seen[0, 0]) == (255, 255, 255)
    assert len(np.unique(seen.reshape(-1, 3), axis=0)) > 1000  # the picture's colours


def test_the_page_fetches_nothing(page: Path, browser: Browser) -> None:
    browser.open(page, 1280)
    fetched = [event["params"]["request"]["url"] for event in browser.events if event["method"] == REQUEST]
    assert fetched[0] == page.absolute().as_uri()
    assert all(url.startswith("data:image/png;base64,") for url in fetched[1:])
    assert len(fetched) == 2


def test_verdicts_are_coloured_and_legible(page: Path, browser: Browser) -> None:
    browser.open(page, 1280)
    colours = "getComputedStyle(document.querySelector('table .{}'))"
    pairs = {
        name: browser.value(f"[{colours}.color, {colours}.backgroundColor]".replace("{}", name))
        for name in ("reproduced", "deviates", "unmeasured")
    }
    assert len({tuple(pair) for pair in pairs.values()}) == 3
    for ink, paper in pairs.values():
        light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.1, level AA


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.1, of a colour such as rgb(17, 83, 42)."""
    srgb = np.array([int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]) / 255
    linear = np.where(srgb <= 0.03928, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def test_a_broken_page_would_be_noticed(tmp_path: Path, browser: Browser) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text("<!doctype html><img src='missing.png'><script>console.error('trouble')</script>")
    browser.open(broken, 1280)
    troubles = {event["method"] for event in browser.events if event["method"] in TROUBLE}
    assert troubles == {"Log.entryAdded", "Runtime.consoleAPICalled"}
    assert not browser.value("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
