"""The part of the report that shows the paper's claims, with what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from ..verifying.record import Finding, Header, Verdicts
from .markup import Markup, definitions, element, joined, table
from .materials import title

#: The colour of each verdict; style.css has them. The word stands there, too.
_COLOURS = {"reproduced": "reproduced", "deviates": "deviates", "not measurable here": "unmeasured"}

_HEADINGS = ["Claim, and its place", "Measured", "Expected", "Verdict", "To measure it again"]


def claim_section(verdicts: Verdicts | None, known: Sequence[str]) -> Markup:
    """All claims and their verdicts; how many there are of each stands above.

    Parameters
    ----------
    verdicts : Verdicts or None
        None if nothing has been measured.
    known : sequence of str
        The ids of all claims; how many have no verdict is said.
    """
    found = verdicts.claims if verdicts else []
    unchecked = len(set(known) - {finding.id for finding in found})
    parts: list[str] = []
    if unchecked:
        count = "No claim has" if not found else f"{unchecked} of {len(known)} claims have not"
        parts.append(element("p", f"{count} been checked; this does it: ", element("code", "reproduce verify")))
    if verdicts:
        caption = "Claims of the paper. Measured: in brackets the 95 % interval."
        parts += [
            element("p", "One number stands for each claim; the verdict follows from it and its interval."),
            _counts(verdicts),
            definitions(_about(verdicts.header)),
            table(caption, _HEADINGS, map(_row, found)),
        ]
    return element("section", element("h2", "Claims"), *parts, id="claims")


def chosen_claims(verdicts: Verdicts | None, ids: Sequence[str], caption: str) -> Markup:
    """Some claims once more, in short: what was measured beside what the paper says."""
    findings = [finding for finding in verdicts.claims if finding.id in ids] if verdicts else []
    rows = [
        [f.statement, _measured(f), str(f.expected), joined([_badge(f.verdict, f.verdict), _small(f.because)])]
        for f in findings
    ]
    return table(caption, ["Claim", "Measured", "Expected", "Verdict"], rows) if rows else Markup()


def _row(finding: Finding) -> list[str]:
    measured_on = [
        f"networks: {', '.join(finding.networks)}" if finding.networks else "",
        f"photos: {', '.join(finding.photos)}" if finding.photos else "",
        f"seeds: {', '.join(map(str, finding.seeds))}" if finding.seeds else "",
    ]
    detail = finding.measured.detail if finding.measured else ""
    return [
        joined([finding.statement, _small(finding.place)]),
        joined([_measured(finding), *map(_small, (finding.meaning, detail, "; ".join(filter(None, measured_on))))]),
        joined([str(finding.expected), _small(finding.why)]),
        joined(
            [_badge(finding.verdict, finding.verdict), _small(f"because {finding.because}" if finding.because else "")]
        ),
        element("code", finding.rerun),
    ]


def _measured(finding: Finding) -> str:
    return "nothing" if finding.measured is None else str(finding.measured)


def _badge(verdict: str, words: str) -> Markup:
    """A verdict, worded and coloured."""
    return element("span", words, class_=f"verdict {_COLOURS[verdict]}")


def _counts(verdicts: Verdicts) -> Markup:
    counted = (element("li", _badge(word, f"{word}: {count}")) for word, count in verdicts.counts.items())
    return element("ul", *counted, class_="counts")


def _about(header: Header) -> list[tuple[str, str]]:
    settings = header.settings
    named = ", ".join(
        f"{network.title} (stands in for {title(network.stands_in_for)})" if network.stands_in_for else network.title
        for network in header.networks
    )
    names = ("variant", "profile", "k", "l", "samples", "stride")
    return [
        ("Networks", named or f"none: {header.without_networks}"),
        ("Photos", ", ".join(header.photos)),
        ("Settings", ", ".join(f"{name} {settings[name]}" for name in names if name in settings)),
        ("Seeds", ", ".join(map(str, header.seeds))),
        ("Run by", f"{header.provider.upper()}, {header.precision} precision"),
    ]


def _small(text: str) -> Markup:
    return element("small", text) if text else Markup()
