"""The checks by name. A new one is a new file in checks/; claims.yaml says which claim it belongs to."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from types import MappingProxyType
from typing import TypeVar

from .measurement import Measurement

#: Called with a `Material` and the claim's parameters, as ``check(material, **parameters)``.
Check = Callable[..., Measurement]
CheckFunction = TypeVar("CheckFunction", bound=Check)

_checks: dict[str, Check] = {}


def check(name: str) -> Callable[[CheckFunction], CheckFunction]:
    """Decorate a function that measures what a claim is about; the name is what claims.yaml calls it.

    Raises
    ------
    ValueError
        If there is a check of this name: a mistake in a program.
    """

    def registered(function: CheckFunction) -> CheckFunction:
        if name in _checks:
            raise ValueError(f"check {name!r}: registered twice")
        _checks[name] = function
        return function

    return registered


@cache
def checks() -> MappingProxyType[str, Check]:
    """All checks, by name, each of a module in checks/."""
    package = importlib.import_module(".checks", __package__)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return MappingProxyType(_checks)
