"""Prediction difference analysis of any classifier, in one call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
from numpy.typing import NDArray

from .errors import ConfigurationError, ImageError, PredictDiffError
from .input_spec import InputSpec
from .methods.prediction_difference import PredictionDifference, SamplerName
from .network.function import BatchFunction, FunctionNetwork
from .network.opening import Classifier, open_classifier
from .network.predictor import Predictor
from .network.runtime import Provider
from .photo_arrays import Images, as_images, as_pool
from .result import RelevanceMap
from .samplers.sampler import Sampler
from .target_names import Wanted, find_targets

logger = logging.getLogger(__name__)

Model = Predictor | str | Path | onnx.ModelProto | BatchFunction


def explain(
    model: Model,
    images: Images,
    target: Wanted | Sequence[Wanted] = "top",
    *,
    spec: InputSpec | None = None,
    pool: Images | None = None,
    sampler: SamplerName | Sampler = "conditional",
    k: int | None = None,
    l: int | None = None,
    samples: int = 20,
    stride: int = 1,
    seed: int = 0,
    instances: int | None = None,
    batch_size: int | None = None,
    provider: Provider = "auto",
    progress: Callable[[int, int], None] | None = None,
    journal: str | Path | None = None,
) -> RelevanceMap | list[RelevanceMap]:
    """Which pixels speak for and against a class: Algorithm 1 with a classifier of your own.

    Parameters
    ----------
    model : Network, path, onnx.ModelProto or callable
        A network; an ONNX classifier, as PyTorch, Keras or scikit-learn export it; or a function that gives the
        probabilities, (n, classes), of images (n, C, H, W), float32. With a `spec`, a function gets its layout.
    images : array_like, or a list of them
        Without a `spec`: arrays as the network sees them: (C, H, W), (H, W) for one channel, or several, (N, C, H, W).
        With a `spec`: photos (H, W, C) or (H, W), uint8 or from 0 to 1, or several, (N, H, W, C). A list has several.
    target : "top", int, str or Target, or a list of them
        What is explained: the class with the largest probability, for each image its own; a class by its number or
        label; ``BLOB:UNIT``, such as ``fc:3``; or a `Target`.
    spec : InputSpec, optional
        How the classifier wants its images, and the labels of its classes.
    pool : array_like, or a list of arrays
        Other images, given as `images` are, that samples come from; best those of the training. An array of three axes
        has several images of one channel. Needed by the samplers that are known by name.
    sampler : {"conditional", "marginal"} or Sampler, default "conditional"
    k, l : int, optional
        Sides of windows and of outer patches, in pixels: 10 and 14, as in the paper, for images of 91 pixels on. For
        smaller ones, k is a tenth of the side, rounded up, and at least 2; l is k + 4 as far as that fits in.
    samples : int, default 20
        S, for each window.
    stride : int, default 1
        Step between windows. 2 takes a quarter of the time.
    seed : int, default 0
    instances : int, optional
        N of the Laplace correction, (p N + 1) / (N + classes): with how many images the classifier was trained. By
        default the number of images in the pool, which is right where that is the training set, and refused where it
        cannot be: fewer than 10 for each class.
    batch_size : int, optional
        Images that are evaluated at once; chosen from memory by default.
    provider : {"auto", "cpu", "cuda"}
        What runs an ONNX file; a function or network runs where it does.
    progress : callable, optional
        Called with the number of windows done and their total, over all images.
    journal : path, optional
        A file that keeps what has been computed: the same call goes on from there. Several images have several: the
        number of each, from 0, is put before the suffix.

    Returns
    -------
    RelevanceMap or list of RelevanceMap
        A list where several images are given. ``.maps[0]`` is (H, W), in bits: positive for the target.

    Raises
    ------
    PredictDiffError
        If anything does not fit; the message is one line, and says what to do.

    Examples
    --------
    An ONNX file, of a network that was trained as torchvision's are: `photo` and each of the list `photos` are
    (H, W, 3), in uint8 or from 0 to 1.

    >>> import predict_diff
    >>> spec = predict_diff.InputSpec(size=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), softmax=True)
    >>> result = predict_diff.explain("net.onnx", photo, spec=spec, pool=photos, instances=1_281_167)
    >>> result.maps[0]  # (224, 224), in bits: positive where pixels speak for the network's decision

    scikit-learn's digits, 8 x 8 pixels:

    >>> import predict_diff
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> digits = load_digits()
    >>> images = digits.images / 16
    >>> model = LogisticRegression().fit(images[1:].reshape(-1, 64), digits.target[1:])
    >>> def classify(batch):  # (n, 1, 8, 8) -> (n, 10)
    ...     return model.predict_proba(batch.reshape(len(batch), -1))
    >>> result = predict_diff.explain(classify, images[0], pool=images[1:])
    >>> result.maps[0]  # (8, 8), in bits
    """
    if spec is not None and not isinstance(spec, InputSpec):
        raise ConfigurationError(f"spec: expected an InputSpec, found {type(spec).__name__}")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise ConfigurationError(f"seed: expected a whole number, found {seed!r}")
    if provider not in get_args(Provider):
        raise ConfigurationError(f"provider: expected {', '.join(get_args(Provider))}, found {provider!r}")
    if progress is not None and not callable(progress):
        raise ConfigurationError(f"progress: expected a function of two numbers, found {type(progress).__name__}")
    if journal is not None and (not isinstance(journal, str | Path) or not Path(journal).name):
        raise ConfigurationError(f"journal: expected the name of a file, found {journal!r}")
    opened = _opened(model, spec)
    channels, size = _channels_and_size(opened)
    if spec is not None:
        _check_spec(spec, size, opened)
    xs, several = as_images(images, spec, size, channels)
    _check_sizes(xs)
    network = _predictor(opened, xs[0], spec, provider)
    others = None if pool is None else as_pool(pool, spec, xs[0].shape)
    method = PredictionDifference(
        k=k, l=l, sampler=sampler, samples=samples, stride=stride, instances=instances, batch_size=batch_size
    )
    if others is not None:
        method.fit(others)
        _warn_of_itself(xs, others)
        if instances is None:
            logger.info("N of the Laplace correction is the number of images in the pool, %d.", len(others))
    labels = (spec.labels if spec else None) or (opened.labels if isinstance(opened, Classifier) else ())
    wanted: list[Any] = list(target) if isinstance(target, list | tuple) else [target]
    found = []
    for number, x in enumerate(xs):
        targets = find_targets(network, x, wanted, labels)
        kept = _numbered(journal, number) if several and journal is not None else journal
        reported = _over_all(progress, number, len(xs)) if progress is not None else None
        try:
            found.append(method.relevance_map(network, x, targets, int(seed), reported, kept))
        except MemoryError as error:
            raise PredictDiffError(
                f"memory: expected enough for batches of {batch_size or 'the usual size'} and {samples} samples for "
                f"each window, found too little ({error}); choose a smaller batch_size, k or samples"
            ) from error
    return found if several else found[0]


def _opened(model: Model, spec: InputSpec | None) -> Predictor | Classifier | BatchFunction:
    """What a model is: a file is read, since it may say how large its images are."""
    if isinstance(model, str | Path | onnx.ModelProto):
        return open_classifier(model, spec)
    if callable(model) or _is_predictor(model):
        return model
    raise ConfigurationError(
        f"model: expected a Network, the path of an ONNX file, or a function from images to probabilities, found "
        f"{type(model).__name__}"
        + (
            "; give a function that calls its predict_proba on images.reshape(len(images), -1)"
            if hasattr(model, "predict_proba")
            else ""
        )
    )


def _is_predictor(model: object) -> bool:
    return all(hasattr(model, name) for name in ("blobs", "run", "input_shape", "is_probability"))


def _channels_and_size(
    opened: Predictor | Classifier | BatchFunction,
) -> tuple[int | None, tuple[int, int] | None]:
    """C and (H, W), where they are known before an image is."""
    if isinstance(opened, Classifier):
        return opened.given.shape[0], opened.size
    shape = opened.input_shape if _is_predictor(opened) else ()  # type: ignore[union-attr]
    return (shape[0], (shape[1], shape[2])) if len(shape) == 3 else (None, None)


def _check_spec(spec: InputSpec, size: tuple[int, int] | None, opened: Predictor | Classifier | BatchFunction) -> None:
    """ConfigurationError if a spec contradicts the classifier, or says what would come too late."""
    wanted = spec.height_and_width
    if None not in (wanted, size) and wanted != size:
        raise ConfigurationError(f"spec, size: expected {size}, which the network insists on, found {wanted}")
    is_network = _is_predictor(opened)
    if spec.output is not None and not is_network and not isinstance(opened, Classifier):
        raise ConfigurationError(
            f"spec, output: expected none, since a function has but one, found {spec.output!r}; leave it out"
        )
    if is_network and (spec.softmax or spec.output or spec.layout not in (None, "NCHW")):
        raise ConfigurationError(
            "spec: layout, softmax and output are for files and functions, found a network, which has its own; give "
            "its file instead"
        )


def _check_sizes(xs: Sequence[NDArray[np.float32]]) -> None:
    """ImageError if images differ in shape: one network takes them all."""
    for number, x in enumerate(xs):
        if x.shape != xs[0].shape:
            raise ImageError(
                f"image {number}: expected shape {xs[0].shape}, that of image 0, found {x.shape}; resize it, or "
                f"explain it by itself"
            )


def _predictor(
    opened: Predictor | Classifier | BatchFunction, x: NDArray[np.float32], spec: InputSpec | None, provider: Provider
) -> Predictor:
    """The classifier for images like x."""
    if isinstance(opened, Classifier):
        return opened.network(x, provider)
    if _is_predictor(opened):
        return opened  # type: ignore[return-value]
    function: BatchFunction = opened  # type: ignore[assignment]
    if spec is None:
        return FunctionNetwork(function, x)
    name = str(getattr(function, "__name__", type(function).__name__))
    laid_out = wraps(function, (), ())(lambda batch: function(spec.laid_out(batch)))
    return FunctionNetwork(laid_out, x, spec.softmax, name)


def _warn_of_itself(xs: Sequence[NDArray[np.float32]], pool: NDArray[np.float32]) -> None:
    """Paper: the samples are those of other images."""
    for number, x in enumerate(xs):
        if any(np.array_equal(x, other) for other in pool):
            logger.warning("Image %d is in the pool too; leave it out: samples are to come from other images.", number)


def _numbered(journal: str | Path, number: int) -> Path:
    path = Path(journal)
    return path.with_name(f"{path.stem}{number}{path.suffix}")


def _over_all(progress: Callable[[int, int], None], number: int, images: int) -> Callable[[int, int], None]:
    return lambda done, total: progress(number * total + done, images * total)
