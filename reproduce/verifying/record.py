"""What is kept of a verification: results/verify.json."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import FiniteFloat, model_validator

from predict_diff.errors import ConfigurationError, ResultError
from predict_diff.storage import whole_file

from ..classifier import Classifier
from ..validation import Strict, validated
from .measurement import Measurement
from .verdict import Claim, Verdict, verdict

#: Bytes; fifty claims take 1e5.
_AT_MOST = 1 << 23


class Measured(Strict):
    """A `Measurement`; both ends of the interval are None if there is none, or it is not known."""

    value: FiniteFloat
    low: FiniteFloat | None
    high: FiniteFloat | None
    exact: bool
    unit: str
    detail: str
    count: int
    of: str

    @model_validator(mode="after")
    def _ends_fit(self) -> Self:
        if (self.low is None) != (self.high is None) or (self.exact and self.low is not None):
            raise ValueError("expected both ends of the interval, or none, as of an exact number")
        return self

    @classmethod
    def from_measurement(cls, found: Measurement) -> Measured:
        ends = [float(end) for end in (found.low, found.high) if end is not None and math.isfinite(end)]
        low, high = (ends[0], ends[1]) if len(ends) == 2 else (None, None)
        return cls(
            value=float(found.value),
            low=low,
            high=high,
            exact=found.low is None,
            unit=found.unit,
            detail=found.detail,
            count=found.count,
            of=found.of,
        )

    @property
    def measurement(self) -> Measurement:
        """What it was made of."""
        low, high = self.low, self.high
        if not self.exact and (low is None or high is None):
            low = high = math.nan
        return Measurement(self.value, low, high, self.unit, self.detail, self.count, self.of)

    def __str__(self) -> str:
        ends = "" if self.low is None or self.high is None else f" ({self.low:.3g} to {self.high:.3g})"
        return f"{self.value:.3g}{ends} {self.unit}".rstrip()


class Finding(Claim):
    """One claim, as claims.yaml had it, and what came of it.

    Attributes
    ----------
    measured : Measured or None
        None where nothing could be measured.
    verdict : str
        What follows from `measured` and `expected`; another is refused.
    because : str
        Why it is not measurable here; empty for other verdicts.
    rerun : str
        The command that does it again.
    networks, photos : list of str
        What it was measured on, by name.
    seeds : list of int
    """

    measured: Measured | None
    verdict: Verdict
    because: str
    rerun: str
    networks: list[str]
    photos: list[str]
    seeds: list[int]

    @model_validator(mode="after")
    def _justified(self) -> Self:
        word: Verdict = "not measurable here"
        if self.measured is not None:
            word, _ = verdict(self.measured.measurement, self.expected)
        if self.verdict != word:
            raise ValueError(f"expected verdict '{word}', which follows from what was measured, found '{self.verdict}'")
        if bool(self.because) != (word == "not measurable here"):
            raise ValueError(f"expected a reason with verdict 'not measurable here' only, found '{self.because}'")
        return self

    def is_about(self, claim: Claim) -> bool:
        """Whether the claim still is what it was when this was found."""
        return all(getattr(self, name) == getattr(claim, name) for name in Claim.model_fields)


class NetworkRecord(Strict):
    """One network that was verified."""

    name: str
    title: str
    stands_in_for: str | None
    sha256: str
    weights_sha256: str | None

    @classmethod
    def of(cls, classifier: Classifier) -> NetworkRecord:
        card, network = classifier.card, classifier.network
        return cls(
            name=card.name,
            title=card.title,
            stands_in_for=card.stands_in_for,
            sha256=network.sha256,
            weights_sha256=network.metadata.get("weights_sha256"),
        )


class Header(Strict):
    """On what all claims were measured.

    Attributes
    ----------
    kind : str
        What the file is, with the version of its layout.
    settings : dict
        Fields of `reproduce.config.Settings`, without the seed: there are several.
    networks : list of NetworkRecord
        AlexNet, GoogLeNet, VGG16, or what stands in for them.
    without_networks : str
        Why there are none; empty if there are.
    photos, photos_sha256 : list of str
        What maps are made of: names, and hashes of the pixels.
    pool, pool_sha256 : str
        ``default`` or a folder, and the hash of what samplers find in it.
    """

    kind: Literal["prediction-difference claims 2"] = "prediction-difference claims 2"
    settings: dict[str, Any]
    seeds: list[int]
    photos: list[str]
    photos_sha256: list[str]
    pool: str
    pool_sha256: str
    provider: str
    precision: str
    networks: list[NetworkRecord]
    without_networks: str
    versions: dict[str, str]

    def agrees(self, other: Header) -> bool:
        """Whether verdicts of both may stand side by side; versions may differ, as they may between maps."""
        return self.model_dump(exclude={"versions"}) == other.model_dump(exclude={"versions"})


class Verdicts(Strict):
    """All findings, in the order of claims.yaml."""

    header: Header
    claims: list[Finding]

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many claims have each verdict."""
        counted = Counter(finding.verdict for finding in self.claims)
        return {word: counted[word] for word in get_args(Verdict)}

    @property
    def summary(self) -> str:
        """The counts in words."""
        reproduced, deviating, not_measurable = self.counts.values()
        return f"{reproduced} reproduced, {deviating} deviate, {not_measurable} not measurable here"

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all. ResultError if it cannot be written."""
        text = json.dumps(self.model_dump(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        with whole_file(path, ResultError) as file:
            # Names of files may hold what is no UTF-8.
            file.write(text.encode("utf-8", "backslashreplace"))


def read_verdicts(path: Path) -> Verdicts:
    """Read a file that `reproduce verify` has written.

    Raises
    ------
    ResultError
        If it is missing, damaged, of another form, or a verdict in it lacks its measurement or its reason.
    """
    try:
        if path.stat().st_size > _AT_MOST:
            raise ValueError(f"more than {_AT_MOST:,} bytes")
        fields = json.loads(path.read_bytes(), parse_constant=_refuse)
        return validated(Verdicts, fields, lambda place: "")
    except FileNotFoundError:
        raise ResultError(f"{path}: expected verdicts, found no such file; run `reproduce verify`") from None
    except (OSError, ValueError, RecursionError, ConfigurationError) as reason:
        found = " ".join(str(reason).split())
        raise ResultError(
            f"{path}: expected verdicts of `reproduce verify`, but it cannot be read ({found}); delete the file, or "
            f"say --force, to have it made again"
        ) from reason


def _refuse(constant: str) -> float:
    raise ValueError(f"found {constant}, which is no number")
