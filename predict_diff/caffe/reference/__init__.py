"""A plain NumPy reading of Caffe's definitions, to hold converted networks against.

It shares nothing with the converter but the parsed description: shape rules, pooling windows, axes, weights and the
bookkeeping of in-place layers are worked out here once more, straight from what Caffe's layers do, in double
precision. Each layer type is one small function in the file of its family. Beside it, `arrays` reads what the
original Caffe has computed, and `opencv` asks OpenCV's importer.
"""

from .table import FED, LEFT_OUT, LOSSES, TYPES
from .walk import Array, apply, knows, last_readers, last_writers, run, stored_blobs, wanted_bottoms

__all__ = [
    "FED",
    "LEFT_OUT",
    "LOSSES",
    "TYPES",
    "Array",
    "apply",
    "knows",
    "last_readers",
    "last_writers",
    "run",
    "stored_blobs",
    "wanted_bottoms",
]
