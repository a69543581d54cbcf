"""Every number and statement of the paper that can be checked: claims.yaml, checked one by one."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from predict_diff.errors import ConfigurationError, NetworkError, PredictDiffError, ResultError, closest
from predict_diff.network.runtime import check_precision, choose_provider
from predict_diff.result import versions

from . import networks
from .command_lines import command_line
from .config import Seed
from .forecast import check_folder
from .photos import user_path
from .pools import pool
from .request import Request
from .validation import Strict, read_yaml
from .verifying.checks.top_class import right_synsets
from .verifying.material import Material
from .verifying.measurement import Measurement, NotMeasurableError
from .verifying.record import Finding, Header, Measured, NetworkRecord, Verdicts, read_verdicts
from .verifying.registry import arguments, checks
from .verifying.verdict import Claim, Verdict, verdict

logger = logging.getLogger(__name__)

CLAIMS = Path(__file__).with_name("claims.yaml")

Names = Annotated[list[str], Field(min_length=1)]
Unit = TypeVar("Unit", str, int)


class Claims(Strict):
    """claims.yaml: the claims, and what they are measured on."""

    photos: Names
    seeds: Annotated[list[Seed], Field(min_length=1)]
    recognised: Annotated[dict[str, Names], Field(min_length=1)]
    claims: Annotated[list[Claim], Field(min_length=1)]

    @field_validator("photos", "seeds")
    @classmethod
    def _once(cls, named: list[Unit]) -> list[Unit]:
        # A copy is no independent unit: it would make intervals narrower than they are.
        for one, count in Counter(named).items():
            if count > 1:
                raise ValueError(f"expected each once, found {one} {count} times; name another")
        return named

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
    """The claims.

    Raises
    ------
    ConfigurationError
        If something is wrong with the file, a claim's check does not exist, or takes no such parameters.
    """
    found = read_yaml(path, Claims)
    for claim in found.claims:
        if claim.check not in checks():
            raise ConfigurationError(
                f"{path}: claim {claim.id}: check: expected one of {', '.join(sorted(checks()))}, found "
                f"'{claim.check}'{closest(claim.check, checks())}"
            )
        where = f"{path}: claim {claim.id}: parameters"
        parameters = arguments(claim.check, claim.parameters, where)
        if claim.check == "top_class":
            try:
                right_synsets(parameters["photos"], found.recognised)
            except ConfigurationError as reason:
                raise ConfigurationError(f"{where}: {reason}") from reason
    return found


def verify(
    request: Request,
    ids: Sequence[str] | None = None,
    folders: Folders | None = None,
    claims: Claims | None = None,
) -> Verdicts:
    """Check claims, and write ``verify.json`` into the folder for results, anew after each of them.

    Parameters
    ----------
    request : Request
        Its networks and photos replace those of claims.yaml; its seed is added to the seeds there.
    ids : sequence of str, optional
        Which claims. The others keep the verdicts that the file has of them, unless claims.yaml now says something
        else. All by default. None of them (an empty sequence) writes nothing, and refuses verdicts on something else.
    folders : Folders, optional
    claims : Claims, optional
        By default those of claims.yaml.

    Returns
    -------
    Verdicts
        As the file has them, but for those on claims that have changed.

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
    header = _header(material)
    earlier = _earlier(path, header, request.choices.force, replace=ids is None)
    known = _holding(earlier, claims)
    for number, claim in enumerate(chosen, 1):
        logger.info("Claim %d of %d, %s: %s", number, len(chosen), claim.id, claim.statement)
        known[claim.id] = examine(claim, material, rerun(claim.id, request, folders))
        # After each, since the next may take hours, and be stopped.
        _in_order(header, claims, known).write(path)
    return _in_order(header, claims, known)


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
        measured = checks()[claim.check](own, **arguments(claim.check, claim.parameters, "parameters"))
    except PredictDiffError as reason:
        because = str(reason).removeprefix("because ")
    else:
        word, because = verdict(measured, claim.expected)
    return Finding(
        id=claim.id,
        place=claim.place,
        statement=claim.statement,
        check=claim.check,
        parameters=claim.parameters,
        meaning=claim.meaning,
        measured=None if measured is None else Measured.from_measurement(measured),
        expected=claim.expected,
        verdict=word,
        because=because,
        why=claim.why,
        trained=claim.trained,
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
    if len(request.gpus) > 1:
        raise ConfigurationError(
            f"gpus: expected one, which all claims are measured on, found {','.join(map(str, request.gpus))}; name one"
        )
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


def _earlier(path: Path, header: Header, force: bool, replace: bool) -> list[Finding]:
    """What has been found before of the same networks and photos with the same settings.

    Raises
    ------
    ResultError
        If the file is damaged, or has others and is not to be replaced by all claims anew; unless forced.
    """
    if not path.exists():
        return []
    try:
        found = read_verdicts(path)
    except ResultError as damage:
        if not force:
            raise
        logger.warning("%s; it is replaced.", str(damage).split(";")[0])
        return []
    if found.header.agrees(header):
        return found.claims
    if force or replace:
        return []
    raise ResultError(
        f"{path}: expected verdicts on the same networks and photos with the same settings, found others; run all "
        f"claims, choose another folder with --out, or say --force to leave the others out"
    )


def _holding(earlier: Sequence[Finding], claims: Claims) -> dict[str, Finding]:
    """Those of earlier findings, by id, whose claims claims.yaml has unchanged; the others are logged."""
    today = {claim.id: claim for claim in claims.claims}
    holding = {one.id: one for one in earlier if one.id in today and one.is_about(today[one.id])}
    changed = [one.id for one in earlier if one.id not in holding]
    if changed:
        logger.info("claims: verdicts on what claims.yaml no longer says are left out: %s.", ", ".join(changed))
    return holding


def _in_order(header: Header, claims: Claims, known: Mapping[str, Finding]) -> Verdicts:
    return Verdicts(header=header, claims=[known[claim.id] for claim in claims.claims if claim.id in known])


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
        photos_sha256=[photo.sha256 for photo in material.photos],
        pool=request.choices.pool,
        pool_sha256=pool(request.choices.pool, leave_out=None).digest,
        provider=choose_provider(request.engine.provider),
        precision=request.engine.precision,
        networks=used,
        without_networks=without,
        versions=versions(),
    )
