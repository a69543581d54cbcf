"""`reproduce compare`: methods beside one another, on the same photos and networks, with the same measures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..options import Names, method_options, shown_options


class _Commas(Names):
    """Names separated by commas, which may hold spaces."""

    def _split(self, part: str) -> list[str]:
        return [part.strip()] if part.strip() else []


@click.command(short_help="Compare methods: maps, measures with intervals, cost.")
@click.argument("comparison", type=click.Path(path_type=Path), required=False)
@click.option("--methods", type=_Commas(), help="Methods to take, by their names in the YAML, separated by commas.")
@click.option("--measures", type=_Commas(), help="Measures to take, likewise. Default: all of the YAML.")
@click.option("--dry-run", is_flag=True, help="Only tell what is missing and what it will take; write no results.")
@shown_options("the YAML's")
@method_options
def compare(
    comparison: Path | None,
    methods: list[str] | None,
    measures: list[str] | None,
    dry_run: bool,
    networks: list[str] | None,
    photos: list[str] | None,
    **options: Any,
) -> None:
    """Compare the methods that COMPARISON, a YAML file, lists: prediction differences, occlusion, gradients, RISE, ...

    Without COMPARISON: all of them, on five default photos. Into results/compare/NAME go figures, measures with
    intervals over photos, what each method costs, and a page of all. Maps that are there, those of figures included,
    are not computed again, and what was stopped goes on.
    """
    from predict_diff.errors import ConfigurationError

    from ..request import request
    from .compare import compare as make
    from .compare import forecast
    from .configuration import read_comparison

    chosen = request(networks, photos, **options)
    if len(chosen.gpus) > 1:
        found = ",".join(map(str, chosen.gpus))
        raise ConfigurationError(f"gpus: expected one, for maps are made one after another, found {found}; name one")
    read = read_comparison(comparison, chosen.on_gpu(chosen.gpus[0]) if chosen.gpus else chosen, methods, measures)
    if dry_run:
        click.echo("\n".join(forecast(read)))
        return
    for path in make(read):
        click.echo(path)
