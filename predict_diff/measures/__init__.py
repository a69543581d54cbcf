"""How good a map is: curves, places, sparseness, similarity, sanity, convergence.

Pure functions of maps (H, W), or of scores, an image and a map; positive relevance is evidence for the target.
"""

from .curves import Curve, blurred, deletion, insertion
from .flipping import aopc, pixel_flipping
from .localisation import pointing_game, relevance_mass_accuracy, relevance_rank_accuracy, share_inside
from .monte_carlo import Convergence, converge, convergence
from .randomisation import RandomisationCurve, layer_names, randomisation_curve, randomised_models
from .regions import overlap, region_mask
from .scores import Scores, scorer
from .sharpness import gini, hoyer, share_in_top, total_variation
from .similarity import rank_correlation, top_overlap

__all__ = [
    "Convergence",
    "Curve",
    "RandomisationCurve",
    "Scores",
    "aopc",
    "blurred",
    "converge",
    "convergence",
    "deletion",
    "gini",
    "hoyer",
    "insertion",
    "layer_names",
    "overlap",
    "pixel_flipping",
    "pointing_game",
    "randomisation_curve",
    "randomised_models",
    "rank_correlation",
    "region_mask",
    "relevance_mass_accuracy",
    "relevance_rank_accuracy",
    "scorer",
    "share_in_top",
    "share_inside",
    "top_overlap",
    "total_variation",
]
