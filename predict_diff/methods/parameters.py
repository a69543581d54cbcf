"""Parameters as scikit-learn's tools read, copy and change them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Self

from ..errors import ConfigurationError, closest


class Parameters:
    """For dataclasses: their fields as scikit-learn's `get_params`, `set_params` and `clone` take them.

    As there, values are checked where they are used, not where they are set.
    """

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Each parameter under its name; with `deep`, those of parameters that have some too, as ``name__theirs``."""
        found: dict[str, Any] = {}
        for field in fields(self):  # type: ignore[arg-type]
            if not field.init:
                continue
            value = found[field.name] = getattr(self, field.name)
            if deep and isinstance(value, Parameters):
                found |= {f"{field.name}__{name}": inner for name, inner in value.get_params().items()}
        return found

    def set_params(self, **parameters: Any) -> Self:
        """Change some parameters.

        Raises
        ------
        ConfigurationError
            If there is no parameter of such a name; nothing is changed then.
        """
        known = self.get_params()
        for name in parameters:
            if name not in known:
                raise ConfigurationError(
                    f"{type(self).__name__}: expected one of {', '.join(known) or 'no parameters'}, found '{name}'"
                    f"{closest(name, known)}"
                )
        # Outer ones first: the inner ones belong to what they are set to.
        for name in sorted(parameters, key=lambda name: name.count("__")):
            *outer, last = name.split("__")
            owner: Any = self
            for step in outer:
                owner = getattr(owner, step)
            setattr(owner, last, parameters[name])
        return self
