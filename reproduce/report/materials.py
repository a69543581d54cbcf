"""The parts of the report that say what the figures were made from: settings, networks, photos; and what they took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .. import networks
from ..card import Card
from ..photos import default_photos
from .made_figures import MadeFigure, MapMade, Shown, distinct
from .markup import Markup, definitions, element, table

#: Of a setting: what can change from figure to figure, and what it is called there.
_VARIED = {
    "variant": "Variant",
    "profile": "Profile",
    "k": "k",
    "l": "l",
    "samples": "S",
    "stride": "Stride",
    "seed": "Seed",
}

_UNKNOWN = "not known"


def settings_section(figures: Sequence[MadeFigure]) -> Markup:
    """The settings of each figure, and those that all share."""
    rows = [
        [figure.title, *(distinct([item.settings for item in figure.shown], name) for name in _VARIED)]
        for figure in figures
    ]
    used = [item.settings for figure in figures for item in figure.shown]
    common = [name for name in type(used[0]).model_fields if name not in _VARIED]
    return element(
        "section",
        element("h2", "Settings"),
        table("k, l and stride in pixels; S: samples of each window.", ["Figure", *_VARIED.values()], rows),
        element("p", "All figures share these; settings.yaml explains them."),
        definitions((name.replace("_", " "), distinct(used, name)) for name in common),
        id="settings",
    )


def networks_section(figures: Sequence[MadeFigure]) -> Markup:
    """The networks: what they stand in for, which weights they have, and whose they are."""
    by_name = {item.network: item for item in _all_shown(figures)}
    headings = ["Network", "Stands in for", "SHA-256 of its weights", "Licence", "Published accuracy"]
    rows = [_network_row(name, item) for name, item in by_name.items()]
    return element(
        "section", element("h2", "Networks"), table("Networks in the figures.", headings, rows), id="networks"
    )


def _network_row(name: str, item: Shown) -> list[str]:
    known = card(name)
    used = next((made.network.converted_from.get("weights_sha256") for made in item.maps.values()), None)
    weights = used or (known.weights.sha256 if known else None)
    return [
        title(name),
        title(item.stands_in_for) if item.stands_in_for else "no other",
        element("code", weights) if weights else _UNKNOWN,
        known.licence if known else _UNKNOWN,
        _published(known) if known else _UNKNOWN,
    ]


def _published(known: Card) -> str:
    accuracy = known.accuracy
    shares = f"top-1 {accuracy.top1:g} %" + ("" if accuracy.top5 is None else f", top-5 {accuracy.top5:g} %")
    return f"{shares} ({accuracy.source})"


def photos_section(figures: Sequence[MadeFigure]) -> Markup:
    """The photos: whose they are, and what the networks see in them."""
    by_name: dict[str, list[Shown]] = {}
    for item in _all_shown(figures):
        by_name.setdefault(item.photo, []).append(item)
    headings = ["Photo", "Shows", "Credit", "Highest class and its probability", "Notes"]
    rows = [_photo_row(name, items) for name, items in by_name.items()]
    return element("section", element("h2", "Photos"), table("Photos in the figures.", headings, rows), id="photos")


def _photo_row(name: str, items: Sequence[Shown]) -> list[str]:
    made = next((made for item in items for made in item.maps.values()), None)
    # A file of the user's may be called like a default photo.
    is_default = made is None or made.photo.source == f"skimage:{name}"
    default = default_photos().get(name) if is_default else None
    classes = {item.network: f"{title(item.network)}: {item.best[0][0]} {item.best[0][1]:.3f}" for item in items}
    return [
        name,
        default.shows if default else "a photo of the user's",
        default.credit if default else _UNKNOWN,
        "; ".join(classes.values()),
        "; ".join(made.photo.notes) if made else "",
    ]


def times_table(figures: Sequence[MadeFigure]) -> Markup:
    """What the maps took; one that figures share is listed with each."""
    headings = ["Figure", "Network", "Maps", "S", "Stride", "Seconds for a map"]
    rows = [
        [figure.title, title(name), *_times([item for item in figure.shown if item.network == name])]
        for figure in figures
        for name in dict.fromkeys(item.network for item in figure.shown if item.maps)
    ]
    return table("What relevance maps took when they were computed.", headings, rows)


def _times(items: Sequence[Shown]) -> list[str]:
    seconds = [made.seconds for item in items for made in item.maps.values()]
    low, high = f"{min(seconds):.1f}", f"{max(seconds):.1f}"
    used = [item.settings for item in items]
    spread = low if low == high else f"{low} to {high}"
    return [str(len(seconds)), distinct(used, "samples"), distinct(used, "stride"), spread]


def maps_of(figures: Iterable[MadeFigure]) -> list[MapMade]:
    """How each map of some figures was made."""
    return [made for item in _all_shown(figures) for made in item.maps.values()]


def stand_ins(figures: Iterable[MadeFigure]) -> str:
    """Which networks are not the paper's; empty if all are."""
    pairs = {item.network: item.stands_in_for for item in _all_shown(figures) if item.stands_in_for}
    return "; ".join(f"{title(own)} stands in for {title(papers)}" for own, papers in pairs.items())


def card(name: str) -> Card | None:
    """The card of a network; None for an ONNX file of the user's."""
    return networks.card(name) if name in networks.names() else None


def title(name: str) -> str:
    """What a network is called."""
    return known.title if (known := card(name)) else name


def _all_shown(figures: Iterable[MadeFigure]) -> Iterable[Shown]:
    return (item for figure in figures for item in figure.shown)
