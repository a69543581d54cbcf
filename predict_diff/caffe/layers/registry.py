"""Which function converts which layer type."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from ..graph import Layer, Value

Converter = Callable[[Layer], list[Value]]

#: As many bottoms as the description lists, but at least one.
ANY_NUMBER = (1, 1 << 20)

#: Layer type, as the description names it, to the function that converts it.
LAYER_TYPES: dict[str, Converter] = {}


def layer_type(name: str, bottoms: tuple[int, int] = (1, 1)) -> Callable[[Converter], Converter]:
    """Register a function as the converter of a type that takes from `bottoms[0]` to `bottoms[1]` bottoms."""

    def register(converter: Converter) -> Converter:
        @wraps(converter)
        def checked(layer: Layer) -> list[Value]:
            low, high = bottoms
            found = len(layer.bottoms)
            if not low <= found <= high:
                wanted = str(low) if low == high else f"{low} or more" if bottoms == ANY_NUMBER else f"{low} to {high}"
                raise layer.error(f"expected {wanted} bottom blob(s), found {found}")
            return converter(layer)

        LAYER_TYPES[name] = checked
        return checked

    return register
