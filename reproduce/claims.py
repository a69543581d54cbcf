"""Every number and statement of the paper that can be checked: claims.yaml, checked one by one."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from predict_diff.errors import ConfigurationError, NetworkError, PredictDiffError, ResultError, closest
from predict_diff.network.runtime import check_precision, choose_provider
from predict_diff.result import versions

from . import networks
from .command_lines import command_line
from .config import Seed
from .forecast import check_folder
from .photos import user_path
from .request import Request
from .validation import Strict, read_yaml
from .verifying.material import Material
from .verifying.measurement import Measurement, NotMeasurableError
from .verifying.record import Finding, Header, Measured, NetworkRecord, Verdicts, read_verdicts
from .verifying.registry import checks
from .verifying.verdict import Expected, Verdict, verdict

logger = logging.getLogger(__name__)

CLAIMS = Path(__file__).with_name("claims.yaml")

Names = Annotated[list[str], Field(min_length=1)]


class Claim(Strict):
    """One entry of claims.yaml, where the fields are explained."""

    id: str
    place: str
    statement: str
    check: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    meaning: str
    expected: Expected
    why: str
    trained: bool


class Claims(Strict):
    """claims.yaml: the claims, and what they are measured on."""

    photos: Names
    seeds: Annotated[list[Seed], Field(min_length=1)]
    recognised: Annotated[dict[str, Names], Field(min_length=1)]
    claims: Annotated[list[Claim], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for name, count in Counter(claim.id for claim in self.claims).items():
            if count > 1:
                raise ValueError(f"claims: expected every id once, found '{name}' {count} times; rename one")
        return self

    def chosen(self, ids: Sequence[str] | None) -> list[Claim]:
        """The claims of these ids, in the order of the file; all by default. ConfigurationError for an unknown id."""
        known = [claim.id for claim in self.claims]
        for name in ids or []:
            if name not in known:
                raise ConfigurationError(
                    f"claims: expected ids of claims.yaml, such as {', '.join(known[:3])}, found "
                    f"'{name}'{closest(name, known)}"
                )
        return [claim for claim in self.claims if ids is None or claim.id in ids]


@dataclasses.dataclass(frozen=True)
class Folders:
    """What only the user has: ILSVRC-2012's validation photos, and published outputs of the paper's networks."""

    imagenet: Path | None = None
    references: Path | None = None


def read_claims(path: Path = CLAIMS) -> Claims:
    """The claims. ConfigurationError if something is wrong with the file, or a claim's check does not exist."""
    found = read_yaml(path, Claims)
    for claim in found.claims:
        if claim.check not in checks():
            raise ConfigurationError(
                f"{path}: claim {claim.id}: check: expected one of {', '.join(sorted(checks()))}, found "
                f"'{claim.check}'{closest(claim.check, checks())}"
            )
    return found


def verify(
    request: Request,
    ids: Sequence[str] | None = None,
    folders: Folders | None = None,
    claims: Claims | None = None,
) -> Verdicts:
    """Check claims, and write ``verify.json`` into the folder for results.

    Parameters
    ----------
    request : Request
        Its networks and photos replace those of claims.yaml; its seed is added to the seeds there.
    ids : sequence of str, optional
        Which claims; the others keep the verdicts that the file has of them. All by default.
    folders : Folders, optional
    claims : Claims, optional
        By default those of claims.yaml.

    Returns
    -------
    Verdicts
        As the file has them.

    Raises
    ------
    PredictDiffError
        For what the user can mend about the request. What is missing, or fails, for one claim is no error but its
        verdict.
    """
    claims, folders = claims or read_claims(), folders or Folders()
    chosen = claims.chosen(ids)
    path = request.choices.out / "verify.json"
    material = _material(request, claims, folders)
    _check(request, material)
    earlier = _earlier(path, request.choices.force)
    header = _header(material)
    if ids is not None and earlier is not None and not earlier.header.agrees(header):
        if not request.choices.force:
            raise ResultError(
                f"{path}: expected verdicts on the same networks and photos with the same settings, found others; run "
                f"all claims, choose another folder with --out, or say --force to leave the others out"
            )
        earlier = None
    kept = {finding.id: finding for finding in earlier.claims} if ids is not None and earlier is not None else {}
    for number, claim in enumerate(chosen, 1):
        logger.info("Claim %d of %d, %s: %s", number, len(chosen), claim.id, claim.statement)
        kept[claim.id] = examine(claim, material, rerun(claim.id, request, folders))
    found = Verdicts(header=header, claims=[kept[claim.id] for claim in claims.claims if claim.id in kept])
    found.write(path)
    return found


def examine(claim: Claim, material: Material, command: str) -> Finding:
    """Measure one claim, and decide on it.

    Parameters
    ----------
    claim : Claim
    material : Material
    command : str
        Does it again.
    """
    own = material.for_claim(claim.trained)
    measured: Measurement | None = None
    word: Verdict = "not measurable here"
    try:
        measured = checks()[claim.check](own, **claim.parameters)
    except PredictDiffError as reason:
        because = str(reason).removeprefix("because ")
    else:
        word, because = verdict(measured, claim.expected)
    return Finding(
        id=claim.id,
        place=claim.place,
        statement=claim.statement,
        meaning=claim.meaning,
        measured=None if measured is None else Measured.from_measurement(measured),
        expected=claim.expected,
        verdict=word,
        because=because,
        why=claim.why,
        rerun=command,
        networks=[classifier.name for classifier in own.used.networks.values()],
        photos=list(own.used.photos),
        seeds=list(own.used.seeds),
    )


def rerun(claim: str, request: Request, folders: Folders) -> str:
    """The command that checks one claim again with the same choices; those that are the default are left out."""
    return command_line("verify", request, claims=claim, imagenet=folders.imagenet, references=folders.references)


def _material(request: Request, claims: Claims, folders: Folders) -> Material:
    photos = claims.photos if request.photos is None else request.photos
    seeds = [seed + (request.seed or 0) for seed in claims.seeds]
    return Material(request, photos, seeds, claims.recognised, folders.imagenet, folders.references)


def _check(request: Request, material: Material) -> None:
    """Raise what is wrong with what the user asked for: it would be wrong for every claim."""
    check_folder(request.choices.out)
    engine = request.engine
    check_precision(engine.precision, engine.device, choose_provider(engine.provider))
    for name in request.networks or []:
        if not name.endswith(".onnx"):
            networks.card(name)
        elif not user_path(name).is_file():
            raise NetworkError(f"networks: expected an ONNX file, found none at {name}; check its name")
    for seed in material.seeds:
        material.settings(seed)
    photos = material.photos
    if material.imagenet is not None:
        _ = material.labelled_photos
    if material.references is not None and not user_path(material.references).is_dir():
        raise ConfigurationError(
            f"references: expected a folder of published outputs, found none at {material.references}; name another"
        )
    try:
        for classifier in material.networks():
            material.subject(photos[0], classifier, ("marginal", "conditional")).check()
    except NotMeasurableError:  # Each claim says so itself, if it needs them.
        return


def _earlier(path: Path, force: bool) -> Verdicts | None:
    """The verdicts that are there. ResultError if they are damaged, unless they may be replaced."""
    if not path.exists():
        return None
    try:
        return read_verdicts(path)
    except ResultError as damage:
        if not force:
            raise
        logger.warning("%s; it is replaced.", str(damage).split(";")[0])
        return None


def _header(material: Material) -> Header:
    try:
        used, without = [NetworkRecord.of(classifier) for classifier in material.networks()], ""
    except NotMeasurableError as reason:
        used, without = [], str(reason)
    request = material.request
    return Header(
        settings=material.settings(material.seeds[0]).model_dump(exclude={"seed"}),
        seeds=material.seeds,
        photos=[photo.name for photo in material.photos],
        pool=request.choices.pool,
        provider=choose_provider(request.engine.provider),
        precision=request.engine.precision,
        networks=used,
        without_networks=without,
        versions=versions(),
    )
