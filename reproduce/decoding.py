"""From the bytes of a picture file, which may come from anyone, to RGB in [0, 1]."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageChops, ImageFile, UnidentifiedImageError

from predict_diff.errors import ImageError

# Only formats that Pillow decodes itself: others start programs (EPS: Ghostscript) or guess without a signature (TGA).
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF")

MAX_PIXELS = 100_000_000
"""Checked against the header, before anything is decoded."""

_GREYSCALE = {"1", "L", "LA", "La", "I", "F"}

# A byte as a fraction, in float32: what scikit-image's img_as_float gives.
_UNIT = np.arange(256, dtype=np.float32) / np.float32(255)

Pixels = NDArray[np.float32]


def decode(file: BinaryIO, name: str) -> tuple[Pixels, tuple[str, ...]]:
    """Decode a picture.

    Parameters
    ----------
    file : binary file
        Open for reading, at its beginning.
    name : str
        The file's, for messages.

    Returns
    -------
    pixels : ndarray, shape (H, W, 3), float32
        RGB in [0, 1], upright.
    notes : tuple of str
        What was done beyond dividing by 255.

    Raises
    ------
    ImageError
        If it is no picture, damaged, has more than `MAX_PIXELS`, or values whose scale is unknown.
    """
    try:
        with warnings.catch_warnings():
            # Pillow's remarks on odd metadata: what matters of a picture is checked here.
            warnings.simplefilter("ignore")
            Image.init()
            formats = [kind for kind in FORMATS if kind in Image.OPEN]
            with Image.open(file, formats=formats) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise _too_large(name, f"{image.width} x {image.height}")
                if image.format != "PNG":
                    return _upright_rgb(image, name)
                image.verify()  # a PNG's checksums, which decoding passes over
            file.seek(0)
            with Image.open(file, formats=formats) as image:
                return _upright_rgb(image, name)
    except ImageError:
        raise
    except Image.DecompressionBombError as problem:
        raise _too_large(name, "far more") from problem
    except UnidentifiedImageError as problem:
        raise ImageError(
            f"{name}: expected a picture ({', '.join(FORMATS)}), found something else or a damaged beginning; open it "
            f"in a picture program and save it as PNG"
        ) from problem
    except MemoryError as problem:
        raise ImageError(f"{name}: expected a picture that fits into memory; save it smaller") from problem
    except Exception as problem:
        # On damaged files Pillow's decoders raise about anything: OSError, SyntaxError, ValueError, struct.error ...
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise ImageError(
            f"{name}: expected a whole picture, found a damaged or truncated one ({reason}); copy or download it again"
        ) from problem


def _upright_rgb(image: ImageFile.ImageFile, name: str) -> tuple[Pixels, tuple[str, ...]]:
    sixteen_bits = ";16" in str(image.tile)  # Pillow's name for how the file's samples are packed
    turned = image.format == "TIFF" and _orientation(image) != 1  # Pillow turns these while loading
    image.load()
    notes = ["greyscale: repeated over three channels"] if _is_greyscale(image) else []
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        pixels, done = _from_wide_grey(image, name)
    else:
        pixels, done = _from_bytes(image)
        if sixteen_bits:
            done.append("16 bits a channel: the upper 8 used, which is what Pillow reads")
    notes += done
    orientation = _orientation(image)
    pixels = _turn(pixels, orientation)
    if turned or orientation != 1:
        notes.append("turned as its EXIF says")
    notes += _of_several(image)
    return np.ascontiguousarray(pixels), tuple(notes)


def _from_bytes(image: Image.Image) -> tuple[Pixels, list[str]]:
    """Pictures of 8 bits a channel, in any of Pillow's modes."""
    notes = []
    if image.mode == "CMYK":
        notes.append("CMYK converted")
        if image.format == "JPEG" and "adobe" not in image.info:
            # Pillow takes every CMYK JPEG to be stored inverted. Only Adobe's are, and they say so.
            image = ImageChops.invert(image)
    elif image.mode not in ("RGB", "RGBA", "RGBa", "P", "PA") and not _is_greyscale(image):
        notes.append(f"{image.mode} converted")
    if not image.has_transparency_data:
        return _UNIT[np.asarray(image.convert("RGB"))], notes
    if image.mode == "La":
        image = image.convert("LA")
    rgba = np.asarray(image.convert("RGBA"))
    pixels, opacity = _UNIT[rgba[..., :3]], _UNIT[rgba[..., 3:]]
    if opacity.min() < 1:
        # Caffe: caffe.io.load_image drops the alpha channel and shows whatever colour is stored beneath.
        pixels = pixels * opacity + (1 - opacity)
        notes.append("transparency laid over white")
    return pixels, notes


def _from_wide_grey(image: Image.Image, name: str) -> tuple[Pixels, list[str]]:
    """Greyscale of more than 8 bits, or of floating-point numbers."""
    values = np.asarray(image)
    tags: Any = getattr(image, "tag_v2", {})  # TIFF's
    notes = []
    if image.mode == "F":
        if not (values.min() >= 0 and values.max() <= 1):  # also false for NaN
            raise ImageError(
                f"{name}: expected floating-point values from 0 to 1, found {values.min():g} to {values.max():g}; "
                f"scale them, or save the picture with 8 or 16 bits"
            )
        grey = values.astype(np.float32)
        notes.append("floating point: taken as it is")
    else:
        # 16 but for some cameras' TIFFs of 12. Wider integers say nothing of their scale: 16 bits, if they fit.
        bits = min(tags.get(ExifTags.Base.BitsPerSample, (16,))[0], 16)
        white = 2**bits - 1
        if values.min() < 0 or values.max() > white:
            raise ImageError(
                f"{name}: expected values of {bits} bits, from 0 to {white}, found {values.min()} to {values.max()}; "
                f"save the picture with 8 or 16 bits"
            )
        grey = values.astype(np.float32) / np.float32(white)
        notes.append(f"{bits} bits: scaled by {white}")
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:
        grey = 1 - grey  # Pillow does so for 8 bits only
        notes.append("white stored as 0: inverted")
    transparent = image.info.get("transparency")
    if isinstance(transparent, int) and (values == transparent).any():
        grey[values == transparent] = 1
        notes.append("transparency laid over white")
    return np.repeat(grey[..., None], 3, axis=2), notes


def _is_greyscale(image: Image.Image) -> bool:
    return image.mode in _GREYSCALE or image.mode.startswith("I;16")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1, upright, where EXIF is missing or senseless, as picture viewers do."""
    with contextlib.suppress(Exception):
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        if orientation in range(2, 9):
            return int(orientation)
    return 1


def _turn(pixels: Pixels, orientation: int) -> Pixels:
    """Undo how the camera was held. From 5 on rows and columns are exchanged; then each axis may be mirrored."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _of_several(image: ImageFile.ImageFile) -> list[str]:
    """A note if the file holds more pictures than the first, whose damage would not concern us."""
    with contextlib.suppress(Exception):
        if getattr(image, "is_animated", False):
            moves = image.format in ("GIF", "WEBP", "PNG", "AVIF")
            return ["animation: first frame" if moves else "several pictures in the file: the first"]
    return []


def _too_large(name: str, found: str) -> ImageError:
    return ImageError(
        f"{name}: expected at most {MAX_PIXELS // 1_000_000} megapixels, found {found} pixels; save the photo smaller"
    )
