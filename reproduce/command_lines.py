"""The command lines that give the same again."""

from __future__ import annotations

import shlex
from typing import Any

from .request import Request


def command_line(command: str, request: Request, **more: Any) -> str:
    """A command with the options that differ from its defaults, fit for a shell.

    Parameters
    ----------
    command : str
        What stands behind `reproduce`.
    request : Request
    **more
        Options of this command alone; those that are None are left out, and True is a flag. A `_` stands for `-`.
    """
    engine, choices = request.engine, request.choices
    options: dict[str, Any] = {
        **{name.replace("_", "-"): value for name, value in more.items()},
        "networks": _names(request.networks),
        "photos": _names(request.photos),
        "variant": request.variant if request.variant != "paper" else None,
        "profile": request.profile,
        **{name: request.changes.get(name) for name in ("k", "l", "samples", "stride")},
        "faults": _faults(request.changes.get("faults")),
        "seed": request.seed,
        "pool": choices.pool if choices.pool != "default" else None,
        "provider": engine.provider if engine.provider != "auto" and not request.gpus else None,
        "precision": engine.precision if engine.precision != "full" else None,
        "gpus": _names([str(number) for number in request.gpus] or None),
        "evaluator": choices.evaluator if choices.evaluator != "auto" else None,
        "batch-size": choices.batch_size,
        "threads": engine.threads,
        "palette": request.palette if request.palette != "paper" else None,
        "out": choices.out if str(choices.out) != "results" else None,
    }
    words = [_option(name, value) for name, value in options.items() if value is not None]
    return " ".join(["reproduce", command, *words])


def _option(name: str, value: Any) -> str:
    return f"--{name}" if value is True else f"--{name} {shlex.quote(str(value))}"


def _names(names: list[str] | None) -> str | None:
    return ",".join(names) if names else None


def _faults(names: list[str] | None) -> str | None:
    return None if names is None else ",".join(names) or "none"
