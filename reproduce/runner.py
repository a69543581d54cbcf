"""Jobs -> windows -> relevance maps on disk: what was stopped goes on where it was, whole or as one of some shards."""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from predict_diff.algorithm import make_plan, measures_of, relevances
from predict_diff.errors import ConfigurationError, ResultError
from predict_diff.evaluator import Evaluator
from predict_diff.journal import Journal, OtherRunError, open_journal
from predict_diff.journal_progress import look
from predict_diff.network.choosing import choose_evaluator
from predict_diff.plan import Plan, differences
from predict_diff.precision import precision_error
from predict_diff.result import RelevanceMap, versions
from predict_diff.samplers import Sampler

from .config import SamplerName
from .inside import name_problem
from .progress import Progress, duration

if TYPE_CHECKING:
    from .subject import Subject

logger = logging.getLogger(__name__)

#: Folders below that for results: of maps, and of what is not complete yet.
MAPS, PARTS = "maps", "parts"

#: Which shard of how many.
Shard = tuple[int, int]
WHOLE: Shard = (1, 1)


def compute_map(subject: Subject, sampler: SamplerName, drawn: Sampler) -> RelevanceMap:
    """Run Algorithm 1 with a sampler, or go on where it was stopped, and store the map."""
    evaluator, plan = plan_map(subject, sampler, drawn)
    with _open(subject, plan) as journal:
        if (found := subject.stored(sampler)) is not None:  # another process was faster
            journal.discard()
            return found
        _compute(subject, evaluator, drawn, journal)
        return finish(journal, subject.choices.out)


def compute_shard(subject: Subject, sampler: SamplerName, drawn: Sampler) -> Path:
    """Compute one shard of a map, or go on with it; the path of its journal, which can be merged with others."""
    evaluator, plan = plan_map(subject, sampler, drawn)
    with _open(subject, plan) as journal:
        _compute(subject, evaluator, drawn, journal)
        journal.sync()
    return journal.path


def plan_map(subject: Subject, sampler: SamplerName, drawn: Sampler) -> tuple[Evaluator, Plan]:
    """What evaluates the windows of a map, and what is to be computed: in the batches in which it was begun, if it was.

    Raises
    ------
    ConfigurationError
        If the user asks for other batches than those in which it was begun.
    """
    evaluator = subject.evaluator
    if (batching := _begun_with(subject, sampler)) not in (None, evaluator.batching):
        evaluator = subject.evaluator_like(batching)
    settings, shard = subject.settings, subject.choices.shard
    plan = make_plan(
        subject.x,
        evaluator,
        drawn,
        samples=settings.samples,
        stride=settings.stride,
        seed=settings.seed,
        instances=settings.laplace_instances,
        faults=settings.fault_switches,
        # Machines may have other coarse maps: shards that are to fit together do without.
        coarser=subject.coarser(sampler) if shard == WHOLE else None,
    )
    provenance = {
        **plan.provenance,
        "precision_error": _precision_error(subject, evaluator, drawn),
        "identity": subject.identity(sampler),
        "settings": settings.model_dump(),
        "photo": {"name": subject.photo.name, "source": subject.photo.source, "notes": list(subject.photo.notes)},
        "pool": subject.pool.describe(),
        "title": title(subject, sampler),
        "file": subject.path(sampler).name,
    }
    plan = replace(plan, provenance=provenance, map_dtype="float16" if settings.store_float16 else "float64")
    return evaluator, plan if shard == WHOLE else plan.as_shard(*shard)


def keep(journal: Journal, computed: Iterable[tuple[int, NDArray[np.float64], float]]) -> None:
    """Write down parts as they come, and show how far the map is: numbers of parts, their values and seconds."""
    number, count = journal.plan.shard
    name = journal.plan.provenance["title"] + (f", shard {number} of {count}" if count > 1 else "")
    done, total = journal.windows_done, len(journal.plan.order)
    if 0 < done < total:
        logger.info("%s: goes on from window %d of %d.", name, done, total)
    with Progress(name, total, "windows", done) as progress:
        for part, values, seconds in computed:
            journal.write(part, values, seconds)
            progress.update(len(values))


def finish(journal: Journal, out: Path) -> RelevanceMap:
    """Store the map of a journal that is complete, and delete the journal."""
    found = journal.plan.relevance_map(journal.values(), {"seconds": journal.seconds, "processes": journal.processes})
    found.save(out / MAPS / file_name(journal.plan, journal.path))
    journal.discard()
    logger.info("%s: %d windows in %s.", found.provenance["title"], len(found.grid), duration(journal.seconds))
    return found


def file_name(plan: Plan, path: Path) -> str:
    """What the file of a plan's map is called. ResultError unless it is the plain name of such a file."""
    name = str(plan.provenance.get("file"))
    if "/" in name or not name.endswith(".h5") or name_problem(name) is not None:
        raise ResultError(f"{path}: expected the name of a map's file in it, found {name!r}; compute it anew")
    return name


def journal_path(out: Path, file: str, shard: Shard = WHOLE) -> Path:
    """Where the windows of a map, or of one of its shards, are kept, given the name of the map's file."""
    part = "" if shard == WHOLE else f"-{shard[0]}of{shard[1]}"
    return out / PARTS / f"{file.removesuffix('.h5')}{part}.h5"


def open_run(path: Path, plan: Plan, force: bool) -> Journal:
    """The journal of a plan; one that was begun otherwise makes room if it may (`force`)."""
    try:
        return open_journal(path, plan)
    except OtherRunError as other:
        if not force:
            raise
        logger.warning("%s; it is begun anew.", str(other).split(";")[0])
        path.unlink(missing_ok=True)
        return open_journal(path, plan)


def title(subject: Subject, sampler: SamplerName) -> str:
    """A map in words; with its seed where that is not 0."""
    seed = f", seed {subject.settings.seed}" if subject.settings.seed else ""
    return f"{subject.photo.name}, {subject.classifier.card.title}, {sampler}{seed}"


def share_missing(subject: Subject, sampler: SamplerName) -> float:
    """Which share of a map's windows this process still has to compute."""
    if subject.path(sampler).exists():
        return 0.0
    share = 1 / subject.choices.shard[1]
    try:
        begun = look(_path(subject, sampler))
    except ResultError:
        return share
    return share * (1 - begun.done / begun.total)


def check_begun(subject: Subject, sampler: SamplerName) -> None:
    """Raise ResultError if a run was begun with libraries that may give other last bits, unless it may be replaced.

    Runs of the same photo, network and sampler with another configuration are named, and left as they are.
    """
    path, identity = _path(subject, sampler), subject.identity(sampler)
    for other in sorted(path.parent.glob(f"{glob.escape(subject.stem)}-{sampler}-*.h5")):
        try:
            begun = look(other)
        except ResultError:
            continue  # begun anew, which is said then
        if other == path:
            now = {name: number for name, number in versions().items() if name in begun.plan.terms["versions"]}
            if (strange := differences(now, begun.plan.terms["versions"])) and not subject.choices.force:
                raise OtherRunError(
                    f"{path}: expected a run of the installed versions, found one of others, whose last bits may "
                    f"differ ({strange[0]}); install those to go on, or say --force to begin anew"
                )
        elif begun.done < begun.total and (strange := differences(identity, begun.plan.provenance.get("identity"))):
            logger.info("%s: a run of another configuration was stopped (%s); it is left as it is.", other, strange[0])


def _path(subject: Subject, sampler: SamplerName) -> Path:
    return journal_path(subject.choices.out, subject.path(sampler).name, subject.choices.shard)


def _begun_with(subject: Subject, sampler: SamplerName) -> dict[str, Any] | None:
    """The batches with which a run was begun; ConfigurationError if the user asks for others."""
    path, choices = _path(subject, sampler), subject.choices
    try:
        batching = look(path).plan.batching
    except ResultError:
        return None  # there is none, or it is begun anew, which is said then
    evaluator = {"incremental": "IncrementalEvaluator", "minibatch": "MiniBatchEvaluator"}.get(choices.evaluator)
    asked = {"batch_size": choices.batch_size, "evaluator": evaluator}
    for name in (name for name, value in asked.items() if value not in (None, batching[name])):
        if choices.force:
            return None
        option = f"--{name.replace('_', '-')}"
        raise ConfigurationError(
            f"{option}: expected {batching[name]}, with which {path} was begun, found {asked[name]}; leave {option} "
            f"out to go on, or say --force to begin anew"
        )
    return batching


def _open(subject: Subject, plan: Plan) -> Journal:
    path = journal_path(subject.choices.out, plan.provenance["file"], plan.shard)
    return open_run(path, plan, subject.choices.force)


def _compute(subject: Subject, evaluator: Evaluator, drawn: Sampler, journal: Journal) -> None:
    """Compute what is missing."""
    keep(journal, relevances(subject.x, evaluator, drawn, journal.plan, journal.missing))


def _precision_error(subject: Subject, evaluator: Evaluator, drawn: Sampler) -> dict[str, Any] | None:
    """How far a lower precision is from the full one, for windows here and there; None in full precision."""
    network = subject.classifier.network
    if network.precision == "full":
        return None
    k, batch_size = subject.settings.k, subject.choices.batch_size
    reference = choose_evaluator(network.in_full_precision(), subject.targets, k, batch_size)
    windows = subject.grid.scattered()
    patches = drawn.sample(subject.x, windows, subject.settings.samples, subject.settings.seed)
    by_position = subject.settings.fault_switches.evidence_by_position
    measures = measures_of(network, subject.targets, by_position)
    instances = subject.settings.laplace_instances
    error = precision_error(reference, evaluator, measures, subject.x, windows, patches, instances)
    logger.info("Precision %s: %s.", network.precision, error)
    return error.describe()
