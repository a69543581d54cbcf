"""The numbers of a comparison: a CSV with a row for each mean, the same as a table in Markdown, and all as JSON."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator
from typing import Any

from ..command_lines import command_line
from ..progress import counted
from ..studies.columns import Column
from ..verifying.interval import Interval
from .approaches import Approach
from .curves import ARROWS
from .figure import in_words
from .results import Results
from .summary import Summary, number

#: What stands for the mean over networks.
ALL = "all"

COLUMNS = (
    Column("network", "text", "Name, or `all` for the mean over networks of each photo."),
    Column("method", "text", "Name in the comparison."),
    Column("measure", "text", "Name in the comparison; `seconds` is computing time of a map."),
    Column("better", "text", "Which values are better: higher, lower, or neither."),
    Column("mean", "real", "Over photos."),
    Column("low", "real", "Lower end of the 95 % t-interval over photos; empty for one photo."),
    Column("high", "real", "Upper end."),
    Column("photos", "integer", "How many photos have a value."),
    Column("best", "integer", "1 if better than each other method, beyond the interval of the paired difference."),
    Column("forward", "integer", "Forward passes of the network for one map; empty for all networks."),
    Column("backward", "integer", "Backward passes."),
    Column("settings", "text", "Parameters of the method."),
)


def rows(results: Results) -> Iterator[tuple[Any, ...]]:
    """The rows of the CSV; None is an empty cell."""
    for network in (None, *results.networks):
        for approach in results.approaches:
            passes = (None, None) if network is None else results.passes(approach.name, network)
            settings = in_words(settings_of(results, approach, network))
            for measure in results.measures:
                found = results.summaries(measure.name, network).get(approach.name)
                if found is not None:
                    cells = _cells(found.interval, found.best)
                    yield (
                        network or ALL,
                        approach.name,
                        measure.name,
                        measure.kind.direction,
                        *cells,
                        *passes,
                        settings,
                    )
            cells = _cells(results.seconds(approach.name, network), False)
            yield (network or ALL, approach.name, "seconds", "lower", *cells, *passes, settings)


def markdown(results: Results) -> str:
    """Methods x measures, averaged over networks and then of each, in Markdown."""
    parts = [f"# {_escaped(results.comparison.title)}", words_on_intervals(results)]
    for network in results.tables:
        heading = "All networks" if network is None else title_of(results, network)
        head = [
            "Method",
            *(_escaped(m.title) + ARROWS[m.kind.direction] for m in results.measures),
            "Seconds",
            "Passes",
        ]
        body = [_markdown_row(results, approach, network) for approach in results.approaches]
        lines = [head, ["---"] * len(head), *body]
        parts.append(f"## {_escaped(heading)}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts) + "\n"


def words_on_intervals(results: Results) -> str:
    """What the numbers of the tables are."""
    return (
        f"Means over {counted(results.photos, 'photo')}{results.over_networks}, and 95 % t-intervals over photos; "
        f"where fewer photos have a value, it is said of how many. Bold: better than each other method, beyond the "
        f"interval of the difference photo by photo (not corrected for how many methods there are)."
    )


def cell(found: Interval, photos: int) -> str:
    """A mean and its interval as people read them; and of how many photos, if it is not of all."""
    spread = [f"{_shown(found.low)} to {_shown(found.high)}"] if math.isfinite(found.low) else []
    beside = [*spread, *([counted(found.count, "photo")] if found.count < photos else [])]
    return f"{_shown(found.mean)} ({', '.join(beside)})" if beside else _shown(found.mean)


def passes_in_words(results: Results, method: str, network: str | None) -> str:
    """Forward and backward passes of a map; from the least to the most where networks differ."""
    each = [results.passes(method, name) for name in (results.networks if network is None else [network])]
    words = [
        f"{_from_to([getattr(passes, kind) for passes in each])} {kind}"
        for kind in ("forward", "backward")
        if any(getattr(passes, kind) for passes in each)
    ]
    return " + ".join(words) or "none"


def settings_of(results: Results, approach: Approach, network: str | None = None) -> dict[str, Any]:
    """Parameters of a method; those of the first network stand for all."""
    return approach.settings(results.outcomes[network or results.networks[0]][0].case)


def title_of(results: Results, network: str) -> str:
    """What a network is called."""
    return results.outcomes[network][0].case.classifier.card.title


def as_json(results: Results) -> dict[str, Any]:
    """All numbers, JSON-able: each map's, their means, what they cost, and how they came about."""
    comparison = results.comparison
    return {
        "title": comparison.title,
        "source": comparison.origin,
        "command": command(results),
        "profile": comparison.profile,
        "variant": comparison.request.variant,
        "seed": comparison.seed,
        "versions": results.versions,
        "photos": [
            {"name": each.case.photo.name, "source": each.case.photo.source, "sha256": each.case.photo.sha256}
            for each in results.outcomes[results.networks[0]]
        ],
        "networks": {name: each[0].case.network.describe() for name, each in results.outcomes.items()},
        "methods": {
            each.name: {
                "source": each.about.source,
                "says": each.about.says,
                "random": each.about.random,
                "settings": settings_of(results, each),
            }
            for each in results.approaches
        },
        "measures": {
            each.name: {
                "measure": each.key,
                "meaning": each.kind.meaning,
                "better": each.kind.direction,
                "source": each.kind.source,
                "parameters": each.parameters.model_dump(mode="json"),
            }
            for each in results.measures
        },
        "means": [
            {
                "network": network or ALL,
                "measure": measure.name,
                "method": method,
                **_interval(found.interval),
                "best": found.best,
            }
            for network in (None, *results.networks)
            for measure in results.measures
            for method, found in results.summaries(measure.name, network).items()
        ],
        "maps": [
            {
                "photo": outcome.case.photo.name,
                "sha256": outcome.case.photo.sha256,
                "network": network,
                "target": str(outcome.case.target),
                "class": outcome.case.classifier.describe_target(outcome.case.target),
                "method": method,
                "seconds": found.seconds,
                "forward": outcome.passes[method].forward,
                "backward": outcome.passes[method].backward,
                "measured": {
                    measure.name: outcome.measured[method, measure.name].value
                    for measure in results.measures
                    if (method, measure.name) in outcome.measured
                },
            }
            for network, outcomes in results.outcomes.items()
            for outcome in outcomes
            for method, found in outcome.maps.items()
        ],
        "agreement": {
            "methods": [each.name for each in results.approaches],
            **{
                which: [[number(value) for value in row] for row in results.agreement(which)]
                for which in ("rank_correlation", "top_overlap")
            },
        },
    }


def command(results: Results) -> str:
    """The command line that gives the same again."""
    comparison = results.comparison
    source = "" if comparison.is_built_in else f" {shlex.quote(str(comparison.source))}"
    methods, measures = (None if names is None else ",".join(names) for names in comparison.only)
    return command_line(f"compare{source}", comparison.request, methods=methods, measures=measures)


def _markdown_row(results: Results, approach: Approach, network: str | None) -> list[str]:
    found = [results.summaries(measure.name, network).get(approach.name) for measure in results.measures]
    return [
        _escaped(approach.name),
        *(_markdown_cell(each, results.photos) for each in found),
        cell(results.seconds(approach.name, network), results.photos),
        passes_in_words(results, approach.name, network),
    ]


def _markdown_cell(found: Summary | None, photos: int) -> str:
    if found is None:
        return ""
    text = cell(found.interval, photos)
    return f"**{text}**" if found.best else text


def _cells(found: Interval, best: bool) -> tuple[Any, ...]:
    return (found.mean, number(found.low), number(found.high), found.count, int(best))


def _interval(found: Interval) -> dict[str, Any]:
    return {"mean": found.mean, "low": number(found.low), "high": number(found.high), "photos": found.count}


def _shown(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _from_to(counts: list[int]) -> str:
    return f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"


def _escaped(text: str) -> str:
    """A text that means nothing to Markdown; underscores within words mean nothing anyway."""
    return re.sub(r"[\\`*\[\]<>|~#&]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)
