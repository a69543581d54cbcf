"""What the authors' released code does otherwise than the paper, and its known faults, each by name.

Authors' code: lmzintgraf/DeepVis-PredDiff, commit 02649f2. Nothing here is on unless asked for.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from .errors import ConfigurationError

#: Authors' code: `batch_size` of its experiments; a batch holds whole windows, S photos each.
BATCH_SIZE = 128


@dataclass(frozen=True)
class Faults:
    """Faults of the authors' code that can be switched on.

    Attributes
    ----------
    first_channel_for_all : bool
        The cache of regression matrices and conditional covariances forgets the channel: those of the first
        serve all three.
    stale_window : bool
        The last, partly filled batch holds one window of the batch before, which is evaluated and counted again.
    no_feature_maps : bool
        Means over feature maps cannot be computed: a shape mismatch raises.
    evidence_by_position : bool
        Weight of evidence for the last blob in the list and activation difference for all others, whatever they
        are.
    """

    first_channel_for_all: bool = False
    stale_window: bool = False
    no_feature_maps: bool = False
    evidence_by_position: bool = False

    def describe(self) -> dict[str, bool]:
        return asdict(self)


def stale_window(windows: int, samples: int) -> int | None:
    """Which window the authors' code evaluates twice.

    Parameters
    ----------
    windows, samples : int
        Number of windows of the photo, and S.

    Returns
    -------
    int or None
        Its place in reading order; None where no full batch came before the last.

    Raises
    ------
    ConfigurationError
        If not even one window's samples fit into a batch, which the authors' code cannot do either.
    """
    in_batch = BATCH_SIZE // samples
    if in_batch < 1:
        raise ConfigurationError(
            f"S: the authors' code puts whole windows into batches of {BATCH_SIZE}, so expected at most {BATCH_SIZE}, "
            f"found {samples}; lower S or switch the fault stale_window off"
        )
    full, rest = divmod(windows, in_batch)
    return (full - 1) * in_batch + rest if full else None
