"""Every method's parameters are read, copied and changed as those of scikit-learn's estimators."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from predict_diff import methods
from predict_diff.errors import ConfigurationError
from predict_diff.methods.parameters import Parameters
from predict_diff.methods.prediction_difference import PredictionDifference
from predict_diff.network.function import FunctionNetwork
from predict_diff.targets import Target

PUBLIC = {each for each in vars(methods).values() if isinstance(each, type) and issubclass(each, Parameters)}
METHODS = sorted(PUBLIC | {PredictionDifference}, key=lambda each: each.__name__)


def other(value: Any) -> Any:
    """A value that it is not."""
    return not value if isinstance(value, bool) else (value or 0) + 1 if not isinstance(value, str) else value + "?"


def test_all_methods_are_looked_at() -> None:
    assert {each.__name__ for each in METHODS} == {
        "GradientTimesInput",
        "IntegratedGradients",
        "Occlusion",
        "PredictionDifference",
        "Rise",
        "Sensitivity",
        "SmoothGrad",
        "UnivariateMarginal",
    }


@pytest.mark.parametrize("kind", METHODS)
def test_parameters_are_those_of_the_constructor(kind: type) -> None:
    assert list(kind().get_params()) == [field.name for field in fields(kind) if field.init]


@pytest.mark.parametrize("kind", METHODS)
def test_each_parameter_is_set_by_its_name_and_nothing_else_changes(kind: type) -> None:
    for name, value in kind().get_params().items():
        method = kind()
        assert method.set_params(**{name: other(value)}) is method
        assert method.get_params() == {**kind().get_params(), name: other(value)}
        assert kind(**method.get_params()) == method


@pytest.mark.parametrize("kind", METHODS)
def test_unknown_parameters_are_refused(kind: type) -> None:
    before = kind()
    with pytest.raises(ConfigurationError, match=f"{kind.__name__}: expected"):
        before.set_params(unknown=1)
    assert before == kind()


@pytest.mark.parametrize("kind", METHODS)
def test_scikit_learn_clones_them(kind: type) -> None:
    clone = pytest.importorskip("sklearn.base").clone
    method = kind()
    name = next(iter(method.get_params()))
    method.set_params(**{name: other(getattr(method, name))})
    copy = clone(method)
    assert type(copy) is kind
    assert copy is not method
    assert copy.get_params() == method.get_params()


def test_a_clone_has_learnt_nothing() -> None:
    clone = pytest.importorskip("sklearn.base").clone
    method = PredictionDifference(k=3, sampler="marginal").fit(np.zeros((4, 1, 6, 6), np.float32))
    copy = clone(method)
    assert copy.get_params() == method.get_params()
    with pytest.raises(ConfigurationError, match="pool"):
        copy.set_params(instances=10).explain(*subject())


def test_scikit_learns_grid_sets_them() -> None:
    grid = pytest.importorskip("sklearn.model_selection").ParameterGrid
    found = [methods.Occlusion().set_params(**chosen) for chosen in grid({"size": [2, 3], "stride": [1, 2]})]
    assert [(each.size, each.stride) for each in found] == [(2, 1), (2, 2), (3, 1), (3, 2)]
    shapes = {each.explain(*subject()).shape for each in found}
    assert shapes == {(1, 6, 6)}


def subject() -> tuple[Any, ...]:
    """A classifier, an image and a target."""
    x = np.random.default_rng(0).normal(size=(1, 6, 6)).astype(np.float32)

    def brighter(batch: np.ndarray) -> np.ndarray:
        first = 1 / (1 + np.exp(-batch.mean(axis=(1, 2, 3))))
        return np.stack([first, 1 - first], axis=1)

    return FunctionNetwork(brighter, x), x, [Target("prob", (0,))]
