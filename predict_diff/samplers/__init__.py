"""Samplers: what stands in for a window's true values."""

from .fills import BlurFill, ConstantFill, InpaintingFill, MeanFill, NoiseFill
from .function import FunctionSampler
from .gaussian import GaussianSampler
from .marginal import MarginalSampler
from .pool import pool_limits
from .sampler import Sampler, stream
from .statistics import GaussianStatistics

__all__ = [
    "BlurFill",
    "ConstantFill",
    "FunctionSampler",
    "GaussianSampler",
    "GaussianStatistics",
    "InpaintingFill",
    "MarginalSampler",
    "MeanFill",
    "NoiseFill",
    "Sampler",
    "pool_limits",
    "stream",
]
