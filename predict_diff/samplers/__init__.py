"""Samplers: what stands in for a window's true values."""

from .gaussian import GaussianSampler
from .marginal import MarginalSampler
from .pool import pool_limits
from .sampler import Sampler, stream
from .statistics import GaussianStatistics

__all__ = ["GaussianSampler", "GaussianStatistics", "MarginalSampler", "Sampler", "pool_limits", "stream"]
