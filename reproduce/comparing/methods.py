"""The methods that a comparison can have, by the names they have in its YAML: an entry for each, and no more."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PositiveInt, create_model

from predict_diff.errors import closest
from predict_diff.methods.gradient_times_input import GradientTimesInput
from predict_diff.methods.integrated_gradients import IntegratedGradients
from predict_diff.methods.method import Method
from predict_diff.methods.occlusion import FILLS, Occlusion
from predict_diff.methods.rise import Rise
from predict_diff.methods.sensitivity import Sensitivity
from predict_diff.methods.smooth_grad import SmoothGrad

from ..config import SamplerName
from ..validation import Strict
from .approaches import About, Approach, Competitor, Difference, Says
from .random_map import RandomMap

#: Parameters that change no more than last bits, and are chosen from memory.
_LEFT_OUT = ("evaluator", "batch_size")

#: Whole numbers count something.
_POSITIVE: dict[Any, Any] = {int: PositiveInt, int | None: PositiveInt | None}

#: One value in every pixel, in the network's input space: where its mean is subtracted, 0 is the mean colour.
_Value = float | int


def _fill(value: Any) -> Any:
    """Refuse what is no fill in one line: of a union, each part would have its own."""
    if isinstance(value, str) and value not in FILLS:
        raise ValueError(f"expected a number or one of {', '.join(FILLS)}, found {value!r}{closest(value, FILLS)}")
    return value


class Finite(Strict):
    """Parameters, none of which is NaN or infinite."""

    model_config = ConfigDict(allow_inf_nan=False)


class DifferenceSettings(Strict):
    """As of `reproduce explain`; what is left out is the variant's, the profile's or the command line's."""

    sampler: SamplerName = "conditional"
    k: PositiveInt | None = None
    l: PositiveInt | None = None
    samples: PositiveInt | None = None
    stride: PositiveInt | None = None


class UnivariateSettings(Strict):
    """Side of the squares that count as one feature, side by side, in pixels: 1 in the paper. S, as of `explain`."""

    side: PositiveInt = 1
    samples: PositiveInt | None = None


@dataclass(frozen=True)
class Kind:
    """A method that a comparison can have.

    Attributes
    ----------
    source : str
        The paper that it comes from.
    parameters : type
        What can be set, and its defaults.
    build : callable
        Makes an `Approach` of its name in the comparison and its parameters.
    """

    source: str
    parameters: type[Strict]
    build: Callable[[str, str, Any], Approach]


def _competitor(
    method: type[Any],
    source: str,
    says: Says | Callable[[Any], Says],
    random: bool | Callable[[Any], bool] = False,
    **kinds: Any,
) -> Kind:
    """A method of `predict_diff.methods`: its parameters are those of the class, all but `_LEFT_OUT`.

    Parameters
    ----------
    method : type
        A dataclass that is a `Method`.
    source : str
    says, random
        See `About`; may depend on the parameters.
    **kinds
        What values of some parameters a YAML can have; by default those of the class, whole numbers positive.
    """
    hints = typing.get_type_hints(method)
    fields: dict[str, Any] = {
        field.name: (
            kinds.get(field.name, _POSITIVE.get(hints[field.name], hints[field.name])),
            field.default,
        )
        for field in dataclasses.fields(method)
        if field.name not in _LEFT_OUT
    }
    parameters = create_model(f"{method.__name__}Settings", __base__=Finite, **fields)

    def build(kind: str, name: str, asked: Any) -> Approach:
        about = About(source, says(asked) if callable(says) else says, random(asked) if callable(random) else random)
        explains: Method = method(**asked.model_dump())
        return Competitor(name, about, kind, asked.model_dump(mode="json"), explains)

    return Kind(source, parameters, build)


def _difference(kind: str, name: str, asked: DifferenceSettings) -> Approach:
    changes = asked.model_dump(exclude={"sampler"}, exclude_none=True)
    if "k" in changes:
        changes.setdefault("l", None)  # the variant's margin, whatever l the command line has
    return Difference(name, About(_PAPER, "for or against", True), asked.sampler, changes)


def _univariate(kind: str, name: str, asked: UnivariateSettings) -> Approach:
    changes = {"k": asked.side, "l": None, "stride": asked.side}
    if asked.samples is not None:
        changes["samples"] = asked.samples
    return Difference(name, About(_UNIVARIATE, "for or against", True), "marginal", changes)


_PAPER = "Zintgraf, Cohen and Welling 2016, arXiv:1603.02518"
_UNIVARIATE = "Robnik-Šikonja and Kononenko 2008, IEEE TKDE 20"

METHODS: dict[str, Kind] = {
    "prediction_difference": Kind(_PAPER, DifferenceSettings, _difference),
    "univariate_marginal": Kind(_UNIVARIATE, UnivariateSettings, _univariate),
    "occlusion": _competitor(
        Occlusion,
        "Zeiler and Fergus 2014, arXiv:1311.2901",
        "for or against",
        lambda asked: asked.fill == "noise",
        fill=Annotated[_Value | Literal[tuple(FILLS)], BeforeValidator(_fill)],
    ),
    "sensitivity": _competitor(Sensitivity, "Simonyan, Vedaldi and Zisserman 2014, arXiv:1312.6034", "how much"),
    "gradient_times_input": _competitor(
        GradientTimesInput, "Shrikumar, Greenside, Shcherbina and Kundaje 2016, arXiv:1605.01713", "for or against"
    ),
    "integrated_gradients": _competitor(
        IntegratedGradients, "Sundararajan, Taly and Yan 2017, arXiv:1703.01365", "for or against", baseline=_Value
    ),
    "smooth_grad": _competitor(
        SmoothGrad,
        "Smilkov, Thorat, Kim, Viégas and Wattenberg 2017, arXiv:1706.03825",
        lambda asked: "for or against" if asked.signed else "how much",
        True,
        sigma=Annotated[float, Field(ge=0, le=10)],
    ),
    "rise": _competitor(
        Rise,
        "Petsiuk, Das and Saenko 2018, arXiv:1806.07421",
        "for",
        True,
        p=Annotated[float, Field(gt=0, le=1)],
        baseline=_Value,
    ),
    "random": _competitor(RandomMap, "none: it knows nothing of photo and network", "for or against", True),
}
