"""The Gaussian over outer patches that conditional sampling conditions (eq. 5): fitting and storing it."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import SamplerError
from ..sealed import open_sealed, write_sealed
from ..untrusted import READ_ERRORS, array, attribute, text
from .patches import draw_places, moments
from .pool import check_pool, pool_digest

logger = logging.getLogger(__name__)

# Paper: about 25,000 patches.
PATCHES = 25_000

# Part of the key: raise it whenever the same pool and settings come to give other numbers.
FIT_VERSION = 1

FILE_KIND = "predict_diff Gaussian statistics, layout 1"


@dataclass(frozen=True, eq=False)
class GaussianStatistics:
    """Mean and covariance of outer patches of l x l pixels.

    Parameters
    ----------
    mean : ndarray, shape (D,) or (C, l * l), float64
        Joint: over the D = C * l * l values of a patch in the order channel, row, column. Otherwise one
        mean for each channel.
    covariance : ndarray, shape (D, D) or (C, l * l, l * l), float64
        Symmetric; unbiased, that is, divided by the number of patches less one.
    l : int
        Side of an outer patch, in pixels.
    channels : int
        C.
    joint : bool
        Paper: one Gaussian over all channels. Authors' code: an independent one for each channel.
    patches : int
        How many patches they were fitted on.
    key : dict
        Everything they depend on, as JSON: the pool's SHA-256, the settings, the version of the fitting routine.

    Raises
    ------
    SamplerError
        If the arrays do not have these shapes, or cannot be the moments of a distribution.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    l: int
    channels: int
    joint: bool
    patches: int
    key: dict[str, Any]

    def __post_init__(self) -> None:
        shape = moment_shape(self.l, self.channels, self.joint)
        if self.mean.shape != shape or self.covariance.shape != (*shape, shape[-1]):
            raise SamplerError(
                f"Gaussian statistics: expected mean {shape} and covariance {(*shape, shape[-1])} for l = {self.l} "
                f"and {self.channels} channels, found {self.mean.shape} and {self.covariance.shape}; fit them anew"
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.covariance).all()):
            raise SamplerError("Gaussian statistics: expected finite numbers, found NaN or infinity; fit them anew")
        variances = np.diagonal(self.covariance, axis1=-2, axis2=-1)
        if (variances < 0).any() or not np.array_equal(self.covariance, self.covariance.swapaxes(-2, -1)):
            raise SamplerError(
                "Gaussian statistics: expected a symmetric covariance with variances of at least 0, found another "
                "matrix; fit them anew"
            )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of key, mean and covariance, as hexadecimal digits."""
        digest = hashlib.sha256(_canonical(self.key).encode())
        digest.update(np.ascontiguousarray(self.mean, "<f8").tobytes())
        digest.update(np.ascontiguousarray(self.covariance, "<f8").tobytes())
        return digest.hexdigest()

    @classmethod
    def fit(
        cls,
        pool: NDArray[np.float32],
        l: int,
        patches: int = PATCHES,
        joint: bool = True,
        seed: int = 0,
        placement: str = "anywhere",
    ) -> GaussianStatistics:
        """Fit them on random patches of a pool of photos.

        The same arguments give the same numbers to the last bit, on any number of threads.

        Parameters
        ----------
        pool : ndarray, shape (P, C, H, W), float32
            Photos as the network sees them.
        l : int
            Side of an outer patch, in pixels.
        patches : int, default 25,000
            How many patches.
        joint : bool, default True
            One Gaussian over all channels, or one for each, each on patches of its own.
        seed : int, default 0
            Chooses the patches.
        placement : {"anywhere", "shared"}
            See `draw_places`.

        Raises
        ------
        SamplerError
            If the pool has no photos or they are too small, or there are not more patches than values in one.
        """
        pool = check_pool(pool)
        return cls._fit(pool, _fit_key(pool, l, patches, joint, seed, placement))

    @classmethod
    def _fit(cls, pool: NDArray[np.float32], key: dict[str, Any]) -> GaussianStatistics:
        l, joint, channels = key["l"], key["joint"], key["channels"]
        logger.info("fitting the Gaussian on about %d patches of %d photos", key["patches"], len(pool))
        blocks = [slice(None)] if joint else [slice(channel, channel + 1) for channel in range(channels)]
        # Authors' code: channels that are fitted independently have their own patches.
        drawn = [
            draw_places(pool.shape, l, key["patches"], key["seed"], key["placement"], group)
            for group in range(len(blocks))
        ]
        shape = moment_shape(l, channels, joint)
        if len(drawn[0]) <= shape[-1]:
            raise SamplerError(
                f"patches: expected more than {shape[-1]}, the number of values in a patch with l = {l}, found "
                f"{len(drawn[0])}; draw more patches or choose a smaller l"
            )
        fitted = [moments(pool[:, block], places, l) for block, places in zip(blocks, drawn, strict=True)]
        mean = np.stack([mean for mean, _ in fitted]).reshape(shape)
        covariance = np.stack([covariance for _, covariance in fitted]).reshape(*shape, shape[-1])
        return cls(mean, covariance, l, channels, joint, len(drawn[0]), key)

    @classmethod
    def load_or_fit(
        cls,
        folder: Path | str,
        pool: NDArray[np.float32],
        l: int,
        patches: int = PATCHES,
        joint: bool = True,
        seed: int = 0,
        placement: str = "anywhere",
        force: bool = False,
    ) -> GaussianStatistics:
        """Read them from a folder, if the same pool and settings were fitted there before; else fit and save them.

        Parameters
        ----------
        folder : path
            Made if it does not exist. The file's name holds the first digits of the key's SHA-256.
        pool, l, patches, joint, seed, placement
            See `fit`.
        force : bool, default False
            What is in a damaged file is fitted again.

        Raises
        ------
        SamplerError
            As `fit`, `load` and `save` do.
        """
        pool = check_pool(pool)
        key = _fit_key(pool, l, patches, joint, seed, placement)
        name = hashlib.sha256(_canonical(key).encode()).hexdigest()[:16]
        path = Path(folder) / f"gaussian_{l}x{l}_{'joint' if joint else 'per_channel'}_{name}.h5"
        if path.exists():
            try:
                statistics = cls.load(path)
                if statistics.key != key:
                    raise SamplerError(f"{path}: expected the statistics of this pool, found others; delete the file")
                return statistics
            except SamplerError as damage:
                if not force:
                    raise
                logger.warning("%s; they are fitted again", str(damage).split(";")[0])
        statistics = cls._fit(pool, key)
        statistics.save(path)
        return statistics

    def save(self, path: Path | str) -> None:
        """Write them to an HDF5 file, whole or not at all.

        Raises
        ------
        SamplerError
            If the file cannot be written.
        """
        write_sealed(Path(path), FILE_KIND, self._fill, SamplerError)

    def _fill(self, file: h5py.File) -> None:
        file.attrs.update(key=_canonical(self.key), patches=self.patches, digest=self.digest)
        file.create_dataset("mean", data=self.mean, dtype="<f8")
        file.create_dataset("covariance", data=self.covariance, dtype="<f8")

    @classmethod
    def load(cls, path: Path | str) -> GaussianStatistics:
        """Read what `save` wrote.

        Raises
        ------
        SamplerError
            If there is no such file, or it is damaged or something else.
        """
        path = Path(path)
        if not path.is_file():
            raise SamplerError(f"{path}: expected a file of Gaussian statistics, found none; fit them first")
        try:
            with open_sealed(path, FILE_KIND) as file:
                key = json.loads(text(file, "key"))
                l, channels, joint = int(key["l"]), int(key["channels"]), bool(key["joint"])
                shape = moment_shape(l, channels, joint)
                mean = array(file, "mean", shape, "float64", plain=True)
                covariance = array(file, "covariance", (*shape, shape[-1]), "float64", plain=True)
                statistics = cls(mean, covariance, l, channels, joint, int(attribute(file, "patches")), key)
                if statistics.digest != text(file, "digest"):
                    raise ValueError("its contents do not have the digest they were saved with")
        except (SamplerError, *READ_ERRORS) as error:
            reason = " ".join(str(error).split())
            raise SamplerError(
                f"{path}: expected Gaussian statistics that this program saved, found a damaged or foreign file "
                f"({reason}); delete it and fit them anew"
            ) from error
        return statistics


def moment_shape(l: int, channels: int, joint: bool) -> tuple[int, ...]:
    """The shape of the mean: (C * l * l,) if joint, else (C, l * l)."""
    return (channels * l * l,) if joint else (channels, l * l)


def _fit_key(pool: NDArray[np.float32], l: int, patches: int, joint: bool, seed: int, placement: str) -> dict[str, Any]:
    photos, channels, height, width = pool.shape
    return {
        "version": FIT_VERSION,
        "pool": pool_digest(pool),
        "photos": photos,
        "channels": channels,
        "height": height,
        "width": width,
        "l": int(l),
        "patches": int(patches),
        "joint": bool(joint),
        "seed": int(seed),
        "placement": placement,
    }


def _canonical(key: dict[str, Any]) -> str:
    return json.dumps(key, sort_keys=True, separators=(",", ":"))
