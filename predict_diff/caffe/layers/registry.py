"""Which function converts which layer type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..graph import Value
from ..layer import Layer

#: Returns one value for each top, None for a top that the converted network does not have; or None instead of all
#: if it has nothing of the layer.
Converter = Callable[[Layer], Sequence[Value | None] | None]

#: Returns the sizes of each top, batch included.
InputReader = Callable[[Layer], list[tuple[int, ...]]]

#: As many bottoms as the description lists, but at least one.
ANY_NUMBER = (1, 1 << 20)


@dataclass(frozen=True)
class LayerType:
    """How a layer type is converted.

    Attributes
    ----------
    convert : callable
    bottoms : (int, int)
        The smallest and the largest number of bottoms.
    reads : int
        How many bottoms matter; later ones, such as labels, need not exist.
    """

    convert: Converter
    bottoms: tuple[int, int]
    reads: int

    def expects(self) -> str:
        """The number of bottoms, for messages."""
        low, high = self.bottoms
        return str(low) if low == high else f"{low} or more" if high == ANY_NUMBER[1] else f"{low} to {high}"


#: Layer type, as the description names it, to the way it is converted.
LAYER_TYPES: dict[str, LayerType] = {}

#: Layer types that become inputs of the converted network.
INPUT_TYPES: dict[str, InputReader] = {}


def layer_type(
    *names: str, bottoms: tuple[int, int] = (1, 1), reads: int = ANY_NUMBER[1]
) -> Callable[[Converter], Converter]:
    """Register a function as the converter of some types."""

    def register(converter: Converter) -> Converter:
        LAYER_TYPES.update(dict.fromkeys(names, LayerType(converter, bottoms, reads)))
        return converter

    return register


def input_type(*names: str) -> Callable[[InputReader], InputReader]:
    """Register a function that tells the sizes of a layer that feeds the network."""

    def register(reader: InputReader) -> InputReader:
        INPUT_TYPES.update(dict.fromkeys(names, reader))
        return reader

    return register
