"""The report: one page, whole and correct HTML, with every figure and every claim."""

from __future__ import annotations

import base64
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_home import CHEAP, Outcome, Reproduce, maps, noise

from predict_diff.errors import ResultError
from predict_diff.sealed import open_sealed, write_sealed
from reproduce.claims import read_claims
from reproduce.command_lines import command_line
from reproduce.config import settings
from reproduce.figures.saving import KIND
from reproduce.report import make
from reproduce.report.made_figures import read_shown
from reproduce.report.markup import Markup, element
from reproduce.report.page import Contents, _commands_section
from reproduce.request import Request
from reproduce.subject import Choices
from reproduce.verifying.record import Finding, Header, Verdicts

#: Elements without an end tag.
VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """What a page consists of; an end tag that does not fit its start tag is an error.

    Attributes
    ----------
    tags : list of (str, dict)
        Start tags in order, with their attributes.
    text : str
        All that stands between tags, without the style.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = self.style = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, tag
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            self.style += data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def shown(path: Path = Path("results/report.html")) -> Page:
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture
def report(reproduce: Reproduce, home: Path, no_pictures: None) -> Reproduce:
    """Run `reproduce report --figures figure1 ...` at little cost; what is given goes before these settings."""

    def run(*arguments: str | Path, photo: str | Path = "cat", verify: bool = False) -> Outcome:
        chosen = () if "--figures" in arguments else ("--figures", "figure1")
        checked = () if verify else ("--no-verify",)
        few = ("--networks", "tiny", "--photos", photo, "--pool", home / "pool")
        return reproduce("report", *chosen, *checked, *few, *CHEAP, *arguments)

    return run


def finding(name: str, verdict: str = "reproduced", **fields: Any) -> Finding:
    """One claim with its verdict, as a verification would store it."""
    interval = {"value": 0.25, "low": 0.125, "high": 0.5, "exact": False}
    measured = {**interval, "unit": "h", "detail": "on 2", "count": 5, "of": "photos"}
    unknown = verdict == "not measurable here"
    return Finding.model_validate(
        {
            "id": name,
            "place": f"place of {name}",
            "statement": f"statement of {name}",
            "check": "time",
            "meaning": f"meaning of {name}",
            "trained": True,
            "measured": None if unknown else measured,
            "expected": {"relation": "at_least" if verdict == "deviates" else "at_most", "threshold": 0.75},
            "verdict": verdict,
            "because": f"no weights for {name}" if unknown else "",
            "why": f"why of {name}",
            "rerun": f"reproduce verify --claims {name}",
            "networks": ["tiny"],
            "photos": ["cat"],
            "seeds": [0, 1],
            **fields,
        }
    )


def verdicts(findings: Sequence[Finding]) -> Verdicts:
    header = Header(
        settings=settings("paper", "quick").model_dump(exclude={"seed"}),
        seeds=[0, 1],
        photos=["cat"],
        photos_sha256=["0" * 64],
        pool="default",
        pool_sha256="0" * 64,
        provider="cpu",
        precision="full",
        networks=[],
        without_networks="none are here",
        versions={"numpy": "2"},
    )
    return Verdicts(header=header, claims=list(findings))


def test_the_page_is_well_formed_html(report: Reproduce) -> None:
    (path,) = report().files
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert html.startswith("<!doctype html>\n")
    assert page.all("html") == [{"lang": "en"}]
    assert {"charset": "utf-8"} in page.all("meta")
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert len(page.all("title")) == len(page.all("main")) == len(page.all("h1")) == 1
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert all(below <= above + 1 for above, below in pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"] for a in page.all("a") if str(a["href"]).startswith("#")} == {f"#{name}" for name in ids}


def test_the_page_needs_nothing_but_itself(report: Reproduce) -> None:
    report()
    page = shown()
    assert not [tag for tag, _ in page.tags if tag in {"script", "link", "iframe", "object", "embed", "base", "form"}]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in page.all("img"))
    assert "url(" not in page.style
    assert "@import" not in page.style


def test_a_figure_stands_there_whole_with_its_files_beside_it(report: Reproduce) -> None:
    report()
    page = shown()
    (image,) = page.all("img")
    encoded = str(image["src"]).removeprefix("data:image/png;base64,")
    assert base64.b64decode(encoded, validate=True) == Path("results/figure1.png").read_bytes()
    assert image["alt"] == "Figure 1. Relevance maps of three networks: cat, as seen by Tiny."
    files = [str(a["href"]) for a in page.all("a") if re.fullmatch(r"figure1\.\w+", str(a["href"]))]
    assert files == ["figure1.png", "figure1.pdf", "figure1.h5"]
    assert all(Path("results", name).is_file() for name in files)


def test_the_page_says_how_a_figure_was_made(report: Reproduce, home: Path) -> None:
    report("--seed", "7")
    text = shown().text
    assert "variant paper, profile quick, k = 6, l = 8, S = 2, stride 6, seed 7;" in text
    for made in maps().values():
        assert made.provenance["network"]["converted_from"]["weights_sha256"] in text
        assert f"numpy {made.provenance['versions']['numpy']}" in text
        assert f"{made.provenance['seconds']:.1f}" in text
    assert "nobody's" in text
    assert "top-1 33.3 % (chance)" in text
    assert "reproduce figure1 --networks tiny --photos cat --k 6 --l 8 --samples 2 --stride 6 --seed 7" in text


def test_a_stand_in_and_the_credit_of_a_default_photo_are_named(report: Reproduce, home: Path) -> None:
    card = home / "models" / "tiny" / "model.yaml"
    card.write_text(card.read_text() + "stands_in_for: tiny\n")
    report(photo="chelsea")
    text = shown().text
    assert "Tiny stands in for Tiny" in text
    assert "CC0 by the photographer, Stefan van der Walt" in text


def test_every_claim_stands_there_with_its_verdict_and_why(report: Reproduce) -> None:
    words = ["reproduced", "deviates", "not measurable here", "reproduced"]
    stored = verdicts([finding(f"claim{number}", word) for number, word in enumerate(words)])
    stored.write(Path("results/verify.json"))
    report()
    page = shown()
    for each in stored.claims:
        for said in (each.place, each.statement, each.meaning, each.why, each.because, each.rerun):
            assert said in page.text
    assert page.text.count("0.25 (0.125 to 0.5) h") == 3
    assert page.text.count("because no weights for claim2") == 1
    badges = Counter(str(span["class"]) for span in page.all("span"))
    once_more = Counter({"verdict reproduced": 1, "verdict deviates": 1, "verdict unmeasured": 1})
    assert badges == once_more + Counter({"verdict reproduced": 2, "verdict deviates": 1, "verdict unmeasured": 1})
    assert "reproduced: 2deviates: 1not measurable here: 1" in page.text


def test_claims_about_time_stand_beside_the_times_of_the_maps(report: Reproduce) -> None:
    known = read_claims().claims
    times = [claim.id for claim in known if claim.check == "time"]
    accuracies = [claim.id for claim in known if claim.check == "accuracy"]
    assert times
    assert accuracies
    verdicts([finding(times[0]), finding(accuracies[0])]).write(Path("results/verify.json"))
    report()
    before, after = shown().text.split("What relevance maps took when they were computed.")
    for name in (times[0], accuracies[0]):
        assert f"statement of {name}" in before
        assert f"statement of {name}" in after


def test_names_are_text_whatever_they_hold(report: Reproduce, home: Path) -> None:
    name = "<script>alert(1)<!-- '\"&amp;"
    path = home / "data" / "photos" / f"{name}.png"
    Image.fromarray(noise(3)).save(path)
    verdicts([finding("bold", statement="<b>bold", place="</td>", rerun="a & b")]).write(Path("results/verify.json"))
    outcome = report(photo=path)
    assert outcome.code == 0, outcome.err
    page = shown()
    assert name in page.text
    assert name in str(page.all("img")[0]["alt"])
    assert "<b>bold" in page.text
    assert not page.all("script")
    assert not page.all("b")


@given(st.text(), st.text())
def test_text_never_becomes_markup(text: str, value: str) -> None:
    # Parsers take these for others, as HTML wants it.
    text, value = (re.sub("[\0\r]", "", each) for each in (text, value))
    page = Page(str(element("p", text, title=value)))
    assert page.tags == [("p", {"title": value})]
    assert page.text == text


def test_markup_stays_markup() -> None:
    assert element("p", element("b", "<"), ">") == "<p><b>&lt;</b>&gt;</p>"
    assert isinstance(element("p"), Markup)


def test_a_second_run_computes_nothing_and_gives_the_same_bytes(report: Reproduce) -> None:
    report()
    first = Path("results/report.html").read_bytes()
    written = {path: path.stat().st_mtime_ns for path in Path("results/maps").iterdir()}
    report()
    assert Path("results/report.html").read_bytes() == first
    assert {path: path.stat().st_mtime_ns for path in Path("results/maps").iterdir()} == written


def test_several_figures_stand_in_the_order_asked_for(report: Reproduce) -> None:
    outcome = report("--figures", "figure4,figure1")
    assert outcome.code == 0, outcome.err
    assert [str(image["alt"])[:8] for image in shown().all("img")] == ["Figure 4", "Figure 1"]


def test_all_figures_are_shown_by_default(
    reproduce: Reproduce, home: Path, no_pictures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "figure_names", lambda: ["figure1", "figure4"])
    few = ("--networks", "tiny", "--photos", "cat", "--pool", home / "pool", *CHEAP)
    outcome = reproduce("report", "--no-verify", *few)
    assert outcome.code == 0, outcome.err
    assert len(shown().all("img")) == 2


def test_without_a_verdict_the_page_says_how_to_get_one(report: Reproduce) -> None:
    report()
    assert "No claim has been checked; this does it: reproduce verify" in shown().text
    assert "reproduce verify --imagenet FOLDER" in shown().text


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str] | None]:
    """Claims are not measured but called reproduced; which ones were asked for."""
    calls: list[list[str] | None] = []

    def verify(request: Request, ids: list[str] | None = None) -> Verdicts:
        calls.append(ids)
        path = request.choices.out / "verify.json"
        kept = [] if ids is None else make.read_verdicts(path).claims
        new = [claim.id for claim in read_claims().claims if ids is None or claim.id in ids]
        found = verdicts([*kept, *map(finding, new)])
        found.write(path)
        return found

    monkeypatch.setattr(make, "verify", verify)
    return calls


def test_claims_are_checked_if_they_have_no_verdict(report: Reproduce, asked: list[list[str] | None]) -> None:
    known = [claim.id for claim in read_claims().claims]
    report(verify=True)
    assert asked == [None]
    assert all(f"statement of {name}" in shown().text for name in known)
    verdicts(map(finding, known[2:])).write(Path("results/verify.json"))
    report()
    assert f"2 of {len(known)} claims have not been checked" in shown().text
    report(verify=True)
    assert "not been checked" not in shown().text
    assert [ids for ids in asked[1:] if ids] == [known[:2]]
    assert all(f"statement of {name}" in shown().text for name in known)


def test_no_claim_is_checked_twice(report: Reproduce, asked: list[list[str] | None]) -> None:
    report(verify=True)
    report(verify=True)
    assert not any(asked[1:])


def test_a_claim_is_measured_for_the_report(report: Reproduce, monkeypatch: pytest.MonkeyPatch) -> None:
    known = read_claims()
    one = known.model_copy(update={"claims": [claim for claim in known.claims if claim.check == "equation6"]})
    for module in ("reproduce.claims", "reproduce.report.make"):
        monkeypatch.setattr(f"{module}.read_claims", lambda: one)
    outcome = report(verify=True)
    assert outcome.code == 0, outcome.err
    assert "1 reproduced" in shown().text
    # Other settings: these verdicts are not about what the page would show.
    assert "expected verdicts on the same networks" in report("--samples", "3", verify=True).error


def test_a_damaged_figure_is_named_and_made_again_only_if_asked_to(report: Reproduce) -> None:
    report()
    whole = Path("results/report.html").read_bytes()
    stored = Path("results/figure1.h5")
    stored.write_bytes(stored.read_bytes()[:-100])
    damaged = stored.read_bytes()
    error = report().error
    assert error.startswith("results/figure1.h5: expected the arrays of a figure (HDF5)")
    assert "--force" in error
    assert stored.read_bytes() == damaged
    assert Path("results/report.html").read_bytes() == whole
    assert report("--force").code == 0
    assert stored.read_bytes() != damaged
    assert Path("results/report.html").read_bytes() == whole


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"header": {}, "claims": []}', "[" * 100_000, '{"claims": [NaN]}']
)
def test_damaged_verdicts_are_named(report: Reproduce, text: str) -> None:
    stored = Path("results/verify.json")
    stored.parent.mkdir()
    stored.write_text(text)
    assert report().error.startswith("results/verify.json: expected verdicts")
    assert report("--force").error.startswith("results/verify.json: expected verdicts")
    assert stored.read_text() == text
    assert not Path("results/report.html").exists()
    assert not Path("results/maps").exists()


def test_damaged_verdicts_are_replaced_if_asked_to(report: Reproduce, asked: list[list[str] | None]) -> None:
    stored = Path("results/verify.json")
    stored.parent.mkdir()
    stored.write_text("{")
    assert report(verify=True).error.startswith("results/verify.json: expected verdicts")
    assert asked == []
    assert report("--force", verify=True).code == 0
    assert asked == [None]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--figures", "figure1,figrue4"), "found 'figrue4' (did you mean 'figure4'"),
        (("--networks", "tinny"), "found 'tinny' (did you mean 'tiny'?)"),
        (("--photos", "cta"), "photo 'cta'"),
        (("--k", "40"), "40"),
    ],
)
def test_bad_input_ends_in_one_line_and_no_page(report: Reproduce, arguments: Sequence[str], message: str) -> None:
    assert message in report(*arguments).error
    assert not Path("results/report.html").exists()


def test_a_page_that_is_there_survives_a_run_that_fails(report: Reproduce) -> None:
    report()
    whole = Path("results/report.html").read_bytes()
    assert report("--figures", "figure1,figure4", "--networks", "tinny").error
    assert Path("results/report.html").read_bytes() == whole


def test_an_array_file_that_lacks_something_is_named(tmp_path: Path, report: Reproduce) -> None:
    report()
    path = Path("results/figure1.h5")
    with open_sealed(path, KIND) as whole:
        attributes = dict(whole["0"].attrs)
    for name, value in {
        "best": "[]",
        "settings": "{}",
        "provenance_marginal": attributes["provenance_marginal"].replace('"seconds": ', '"seconds": -'),
    }.items():
        other = tmp_path / "other.h5"
        write_sealed(
            other,
            KIND,
            lambda file, n=name, v=value: file.create_group("0").attrs.update({**attributes, n: v}),
            ResultError,
        )
        with pytest.raises(ResultError, match=r"other\.h5: expected the arrays of a figure"):
            read_shown(other)
    write_sealed(other, KIND, lambda file: file.create_group("0").attrs.update(attributes), ResultError)
    assert [item.photo for item in read_shown(other)] == ["cat"]


def test_the_commands_give_the_same_page_again(report: Reproduce, reproduce: Reproduce) -> None:
    report("--seed", "3", "--palette", "safe")
    whole = Path("results/report.html").read_bytes()
    line = next(line for line in shown().text.splitlines() if line.endswith("safe") and "reproduce report" in line)
    Path("results/report.html").unlink()
    words = shlex.split(line[line.index("reproduce report") :])
    assert reproduce(*words[1:]).code == 0
    assert Path("results/report.html").read_bytes() == whole


def test_the_command_for_the_page_names_figures_and_leaves_claims_out_only_where_the_user_did() -> None:
    contents = Contents(Request(Choices(Path("results"))), [], None, [])
    assert "reproduce report\n" in _commands_section(contents)
    chosen = replace(contents, named=("figure4", "figure1"), check_claims=False)
    assert "reproduce report --figures figure4,figure1 --no-verify\n" in _commands_section(chosen)


def test_a_command_line_is_fit_for_a_shell() -> None:
    line = command_line("report", Request(Choices(Path("my results")), photos=["a b"]), no_verify=True, figures=None)
    assert shlex.split(line) == ["reproduce", "report", "--no-verify", "--photos", "a b", "--out", "my results"]


def test_threads_are_those_of_this_run_whatever_the_maps_were_made_with(report: Reproduce) -> None:
    report("--threads", "1")
    assert "Threads of this run1" in shown().text
    report()
    assert "Threads of this runall cores" in shown().text
