"""Methods of explanation with one call shape, through the same evaluators and gradients."""

from .gradient_times_input import GradientTimesInput
from .integrated_gradients import IntegratedGradients
from .method import Method, Passes
from .occlusion import Occlusion
from .prediction_difference import PredictionDifference
from .rise import Rise
from .sensitivity import Sensitivity
from .smooth_grad import SmoothGrad
from .univariate_marginal import UnivariateMarginal

__all__ = [
    "GradientTimesInput",
    "IntegratedGradients",
    "Method",
    "Occlusion",
    "Passes",
    "PredictionDifference",
    "Rise",
    "Sensitivity",
    "SmoothGrad",
    "UnivariateMarginal",
]
