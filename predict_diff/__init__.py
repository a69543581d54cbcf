"""Prediction difference analysis: which parts of a photo speak for and against a decision of a network.

Zintgraf, Cohen and Welling, *A New Method to Visualize Deep Neural Networks* (arXiv:1603.02518).
"""

from .algorithm import prediction_difference
from .errors import PredictDiffError
from .explaining import explain
from .input_spec import InputSpec
from .methods import PredictionDifference
from .network.choosing import choose_evaluator
from .network.function import FunctionNetwork
from .network.incremental import IncrementalEvaluator
from .network.minibatch import MiniBatchEvaluator
from .network.network import Network
from .result import RelevanceMap
from .samplers import FunctionSampler, GaussianSampler, GaussianStatistics, MarginalSampler, Sampler
from .sensitivity import sensitivity_map
from .targets import Target
from .windows import WindowGrid

__version__ = "0.1.0"

__all__ = [
    "FunctionNetwork",
    "FunctionSampler",
    "GaussianSampler",
    "GaussianStatistics",
    "IncrementalEvaluator",
    "InputSpec",
    "MarginalSampler",
    "MiniBatchEvaluator",
    "Network",
    "PredictDiffError",
    "PredictionDifference",
    "RelevanceMap",
    "Sampler",
    "Target",
    "WindowGrid",
    "__version__",
    "choose_evaluator",
    "explain",
    "prediction_difference",
    "sensitivity_map",
]
