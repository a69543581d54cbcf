"""The verdicts as plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from .record import Finding, Header, Verdicts

#: Columns of a terminal that the table needs at most.
WIDTH = 110

_ID, _MEASURED, _EXPECTED = 32, 36, 16
_INDENT = "    "


def table(verdicts: Verdicts) -> str:
    """A row for each claim, the verdict last, its statement and reason below; then the counts."""
    heading = _row("claim", "measured", "expected", "verdict")
    claims = "\n".join(_claim(finding) for finding in verdicts.claims)
    return "\n\n".join([_about(verdicts.header), f"{heading}\n{claims}", verdicts.summary])


def _about(header: Header) -> str:
    settings = header.settings
    networks = ", ".join(
        network.title + f" (stands in for {network.stands_in_for})" * (network.stands_in_for is not None)
        for network in header.networks
    )
    lines = [
        f"Variant {settings['variant']}, profile {settings['profile']}: k = {settings['k']}, l = {settings['l']}, "
        f"S = {settings['samples']}, stride {settings['stride']}; seeds {', '.join(map(str, header.seeds))}; "
        f"{header.provider.upper()}, {header.precision} precision.",
        f"Networks: {networks or header.without_networks}.",
        f"Photos: {', '.join(header.photos)}.",
    ]
    return "\n".join(_wrapped(lines, ""))


def _claim(finding: Finding) -> str:
    measured = "–" if finding.measured is None else str(finding.measured)
    lines = [finding.statement, f"because {finding.because}" if finding.because else ""]
    return "\n".join(
        [_row(finding.id, measured, str(finding.expected), finding.verdict), *_wrapped(filter(None, lines), _INDENT)]
    )


def _row(name: str, measured: str, expected: str, verdict: str) -> str:
    """One line; what does not fit into its column moves the others, as far as there is room."""
    row = ""
    for text, end in ((name, _ID), (measured, _ID + _MEASURED), (expected, _ID + _MEASURED + _EXPECTED)):
        row = f"{row}{text}".ljust(end - 2) + "  "
    return row + verdict


def _wrapped(lines: Iterable[str], indent: str) -> list[str]:
    return [
        part
        for line in lines
        for part in textwrap.wrap(line, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
    ]
