"""The checks by name. A new one is a new file in checks/; claims.yaml says which claim it belongs to."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar, get_type_hints

from pydantic import create_model

from ..validation import Strict, validated
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


def arguments(name: str, parameters: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A claim's parameters as its check takes them; the check's signature says what they have to be.

    Parameters
    ----------
    name : str
        The check, which is registered.
    parameters : mapping
        As in claims.yaml.
    where : str
        For the message: where they stand.

    Raises
    ------
    ConfigurationError
        If one is unknown, missing or of another type.
    """
    # The first is the material.
    _, *taken = inspect.signature(checks()[name]).parameters.values()
    types = get_type_hints(checks()[name], include_extras=True)
    fields: dict[str, Any] = {
        one.name: (types.get(one.name, Any), ... if one.default is one.empty else one.default) for one in taken
    }
    found = validated(create_model(name, __base__=Strict, **fields), dict(parameters), lambda place: where)
    return {field: getattr(found, field) for field in fields}
