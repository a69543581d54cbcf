"""A study's jobs: photos x networks x samplers x seeds, in an order that is always the same, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from predict_diff.network.runtime import choose_provider

from .. import home
from ..jobs import MapJob
from ..runner import WHOLE
from ..sources import Hash, default_photos_state, key, network_state, photo_stamp, pool_state
from ..subject import NUMBERS_VERSION
from .configuration import Study


@dataclass(frozen=True)
class Item:
    """One map of a study.

    Attributes
    ----------
    number : int
        In the study, from 0; shards share the study by it.
    photo : str
        A default photo's name, or an absolute path.
    size, mtime_ns : int
        Of the photo's file.
    network : str
        As in the study, ONNX files as absolute paths.
    sampler : str
    seed : int
    configuration : str
        A hash of all that the map depends on beside the photo.
    """

    number: int
    photo: str
    size: int
    mtime_ns: int
    network: str
    sampler: str
    seed: int
    configuration: str


def items(study: Study, photos: Sequence[str], sha256: Hash) -> Iterator[Item]:
    """The maps of a study, or of its shard; each photo's one after the other.

    Parameters
    ----------
    study : Study
    photos : sequence of str
        See `sources.photo_names`.
    sha256 : callable
        Hash of a file.
    """
    shard, count = study.request.choices.shard
    shared = _shared_state(study, sha256)
    states = {network.name: key([shared, network_state(network, sha256)]) for network in study.networks}
    settings = {seed: study.request.settings(seed).model_dump() for seed in study.seeds}
    kinds = [
        (network, sampler, seed, key([state, sampler, settings[seed]]))
        for network, state in states.items()
        for sampler in study.samplers
        for seed in study.seeds
    ]
    for place, photo in enumerate(photos):
        stamp = photo_stamp(photo)
        for number, (network, sampler, seed, configuration) in enumerate(kinds, place * len(kinds)):
            if number % count == shard - 1:
                yield Item(number, photo, *stamp, network, sampler, seed, configuration)


def job_of(study: Study, item: Item) -> MapJob:
    """The order for an item's map. A study's shard has whole maps."""
    choices, engine = study.request.choices, study.request.engine
    network = next(asked for asked in study.networks if asked.name == item.network)
    sampler = next(name for name in study.samplers if name == item.sampler)
    return MapJob(
        photo=item.photo,
        network=network.name,
        card=network.card,
        targets=study.targets,
        sampler=sampler,
        settings=study.request.settings(item.seed),
        choices=replace(choices, out=choices.out.absolute(), shard=WHOLE),
        engine=engine,
        home=str(home.root()),
    )


def _shared_state(study: Study, sha256: Hash) -> list[object]:
    """What all maps of a study depend on."""
    engine = study.request.engine
    return [
        NUMBERS_VERSION,
        choose_provider(engine.provider),
        engine.precision,
        list(study.targets),
        pool_state(study.request.choices.pool),
        default_photos_state(sha256),
    ]
