"""The page as a whole: no server, no script, nothing from elsewhere. The same contents give the same bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from predict_diff import __version__

from ..claims import Claim
from ..command_lines import command_line
from ..request import Request
from ..verifying.record import Verdicts
from .claim_section import chosen_claims, claim_section
from .document import document
from .figure_section import figure_section
from .made_figures import MadeFigure, distinct
from .markup import Markup, definitions, element
from .materials import maps_of, networks_section, photos_section, settings_section, stand_ins, times_table

_TITLE = "Prediction difference analysis: figures and claims"
_PAPER = "A New Method to Visualize Deep Neural Networks"
_ADDRESS = "https://arxiv.org/abs/1603.02518"

#: The parts of the page, as the list at its top names them; in small letters, their ids.
_PARTS = ("Figures", "Claims", "Settings", "Networks", "Photos", "Times", "Accuracy", "Commands")


@dataclass(frozen=True)
class Contents:
    """What a report shows.

    Attributes
    ----------
    request : Request
        What the user chose.
    figures : list of MadeFigure
        At least one.
    verdicts : Verdicts or None
        None if no claim has been checked.
    claims : list of Claim
        All there are.
    named : tuple of str or None
        The figures, if the user named them.
    check_claims : bool
        Whether claims without a verdict were to be checked.
    """

    request: Request
    figures: list[MadeFigure]
    verdicts: Verdicts | None
    claims: list[Claim]
    named: tuple[str, ...] | None = None
    check_claims: bool = True

    def measured_by(self, check: str) -> list[str]:
        """The ids of the claims that a check measures."""
        return [claim.id for claim in self.claims if claim.check == check]


def page(contents: Contents) -> str:
    """The report as HTML."""
    figures = contents.figures
    main = element(
        "main",
        figure_section(figures),
        claim_section(contents.verdicts, [claim.id for claim in contents.claims]),
        settings_section(figures),
        networks_section(figures),
        photos_section(figures),
        _times_section(contents),
        _accuracy_section(contents),
        _commands_section(contents),
    )
    return document(_TITLE, _header(contents), main)


def _header(contents: Contents) -> Markup:
    figures, engine = contents.figures, contents.request.engine
    used = [item.settings for figure in figures for item in figure.shown]
    networks = [made.network for made in maps_of(figures)]
    links = (element("a", part, href=f"#{part.lower()}") for part in _PARTS)
    facts = [
        ("Variant", f"{distinct(used, 'variant')} ({distinct(used, 'source')})"),
        ("Profile", distinct(used, "profile")),
        ("Stand-ins", stand_ins(figures) or "none: these are the networks of the paper, or the user's own"),
        ("Claims", contents.verdicts.summary if contents.verdicts else "none checked"),
        ("Provider", distinct(networks, "provider").upper()),
        ("Precision", distinct(networks, "precision")),
        ("Threads of this run", "all cores" if engine.threads is None else str(engine.threads)),
        ("Versions", _versions(figures)),
    ]
    return element(
        "header",
        element("h1", _TITLE),
        element(
            "p", "What this toolkit makes of the paper ", element("a", _PAPER, href=_ADDRESS),
            " by Zintgraf, Cohen and Welling (arXiv:1603.02518).",
        ),
        definitions(facts),
        element("nav", *links, aria_label="Parts of this page"),
    )  # fmt: skip


def _versions(figures: Iterable[MadeFigure]) -> str:
    """Of what the maps were made with, which can be older than what is installed."""
    found: dict[str, dict[str, None]] = {}
    for made in maps_of(figures):
        for package, version in made.versions.items():
            found.setdefault(package, {})[version] = None
    found.setdefault("prediction-difference", {})[__version__] = None
    return ", ".join(f"{package} {' and '.join(found[package])}" for package in sorted(found))


def _times_section(contents: Contents) -> Markup:
    beside = chosen_claims(
        contents.verdicts, contents.measured_by("time"), "A photo at the paper's settings, beside the paper's times."
    )
    return element("section", element("h2", "Times"), times_table(contents.figures), beside, id="times")


def _accuracy_section(contents: Contents) -> Markup:
    measured = chosen_claims(
        contents.verdicts, contents.measured_by("accuracy"), "Accuracy on ILSVRC-2012's validation photos."
    )
    missing = element(
        "p", "Not measured. With the validation photos, this does it: ", _code("reproduce verify --imagenet FOLDER")
    )
    return element("section", element("h2", "Accuracy"), measured or missing, id="accuracy")


def _commands_section(contents: Contents) -> Markup:
    request = contents.request
    figures = ",".join(contents.named) if contents.named else None
    report = command_line("report", request, figures=figures, no_verify=None if contents.check_claims else True)
    others = [command_line(name, request) for name in (*(figure.name for figure in contents.figures), "verify")]
    lines = "\n".join([report, *others])
    words = "The first makes this page again; the others one figure each, and the verdicts."
    return element(
        "section", element("h2", "Commands"), element("p", words), element("pre", _code(lines)), id="commands"
    )


def _code(text: str) -> Markup:
    return element("code", text)
