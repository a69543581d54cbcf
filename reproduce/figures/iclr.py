"""What the figures of the paper's later version, at ICLR 2017, have in common."""

from __future__ import annotations

from collections.abc import Sequence

from ..config import named_settings
from ..explanation import Explanation

#: The later version's name in settings.yaml.
VARIANT = "iclr2017"


def later_version(figure: str, explanations: Sequence[Explanation]) -> str:
    """A line for the caption: how to draw with the later version's settings; empty if these were drawn with."""
    if explanations[0].settings.variant == VARIANT:
        return ""
    later = named_settings().variants[VARIANT]
    command = f"reproduce {figure} --variant {VARIANT} --profile paper"
    return f"This figure stands in the later version, {later.source}, with S = {later.samples}: {command}."
