"""Faults of the authors' code that make an explanation impossible, found before anything is computed or fitted."""

from __future__ import annotations

from collections.abc import Sequence

from predict_diff.algorithm import measures_of, refuse_feature_maps
from predict_diff.authors_code import Faults, stale_window
from predict_diff.errors import ConfigurationError
from predict_diff.network.network import Network
from predict_diff.targets import Target


def refuse_impossible(faults: Faults, network: Network, targets: Sequence[Target], windows: int, samples: int) -> None:
    """Raise ConfigurationError for what the authors' code could not compute either.

    Parameters
    ----------
    faults : Faults
        Those that are switched on; none of them, and nothing is refused.
    network : Network
    targets : sequence of Target
        Explained in one pass, in this order.
    windows, samples : int
        Number of windows of the photo, and S.
    """
    if faults.no_feature_maps:
        refuse_feature_maps(network, targets)
    if faults.evidence_by_position:
        _refuse_evidence(network, targets)
    if faults.stale_window:
        stale_window(windows, samples)


def _refuse_evidence(network: Network, targets: Sequence[Target]) -> None:
    """Authors' code: whatever stands last gets weight of evidence, which exists for probabilities only."""
    fitting, given = (measures_of(network, targets, by_position) for by_position in (False, True))
    for target, own, measure in zip(targets, fitting, given, strict=True):
        if measure == "WE" and own != "WE":
            raise ConfigurationError(
                f"target {target}: weight of evidence needs a probability, found what no softmax gives; outside 0 to 1 "
                f"the authors' code would give NaN here: switch the fault evidence_by_position off"
            )
