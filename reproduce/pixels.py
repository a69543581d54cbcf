"""From a picture file that Pillow can open to RGB in [0, 1].

Also a script: with the name of formats it takes a file as standard input and writes what `read_pixels` returns to
standard output, with memory and time that the picture's size bounds. `decoding` starts it for formats whose decoders
can be made to take any amount of both.
"""

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageChops, ImageFile, UnidentifiedImageError

# Only formats that Pillow decodes itself: others start programs (EPS: Ghostscript) or guess without a signature (TGA).
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF")

MAX_PIXELS = 100_000_000
"""Checked against the header, before anything is decoded."""

REFUSED = 2
"""Exit code of the script; the reason is on standard error."""

#: What the script may take: bytes and seconds of processor time at the least, and for each pixel. Decoders need at
#: most 24 bytes a pixel (TIFF of floating-point numbers), and 0.2 µs.
_BYTES, _BYTES_A_PIXEL = 1 << 29, 32
_SECONDS, _SECONDS_A_PIXEL = 20, 1e-6

#: Pixels along a side of the squares in which bytes become fractions: a copy of the whole would be 1.2 GB.
_SQUARE = 1024

_GREYSCALE = {"1", "L", "LA", "La", "I", "F"}

# A byte as a fraction, in float32: what scikit-image's img_as_float gives.
_UNIT = np.arange(256, dtype=np.float32) / np.float32(255)

Pixels = NDArray[np.float32]


class PictureError(Exception):
    """What was expected of a picture file, what was found and what to do, without the file's name."""


def read_pixels(file: BinaryIO, formats: Sequence[str]) -> tuple[Pixels, tuple[str, ...]]:
    """Decode a picture.

    Parameters
    ----------
    file : binary file
        Open for reading, at its beginning.
    formats : sequence of str
        Those of `FORMATS` that are admitted; one that this Pillow does not know is none.

    Returns
    -------
    pixels : ndarray, shape (H, W, 3), float32
        RGB in [0, 1], upright.
    notes : tuple of str
        What was done beyond dividing by 255.

    Raises
    ------
    PictureError
        If it is no picture, damaged, has more than `MAX_PIXELS`, or values whose scale is unknown.
    """
    try:
        with warnings.catch_warnings():
            # Pillow's remarks on odd metadata: what matters of a picture is checked here.
            warnings.simplefilter("ignore")
            Image.init()
            known = [kind for kind in formats if kind in Image.OPEN]
            with _opened(file, known) as image:
                if image.format != "PNG":
                    return _upright_rgb(image)
                image.verify()  # a PNG's checksums, which decoding passes over
            file.seek(0)
            with _opened(file, known) as image:
                return _upright_rgb(image)
    except PictureError:
        raise
    except Image.DecompressionBombError as problem:
        raise _too_large("far more") from problem
    except UnidentifiedImageError as problem:
        raise PictureError(
            f"expected a picture ({', '.join(FORMATS)}), found something else or a damaged beginning; open it in a "
            f"picture program and save it as PNG"
        ) from problem
    except MemoryError as problem:
        raise PictureError("expected a picture that fits into memory; save it smaller") from problem
    except Exception as problem:
        # On damaged files Pillow's decoders raise about anything: OSError, SyntaxError, ValueError, struct.error ...
        reason = " ".join(str(problem).split())[:200] or type(problem).__name__
        raise PictureError(
            f"expected a whole picture, found a damaged or truncated one ({reason}); copy or download it again"
        ) from problem


@contextlib.contextmanager
def _opened(file: BinaryIO, formats: list[str]) -> Iterator[ImageFile.ImageFile]:
    with Image.open(file, formats=formats) as image:
        if image.width * image.height > MAX_PIXELS:
            raise _too_large(f"{image.width} x {image.height}")
        if __name__ == "__main__":
            _limit(image.width * image.height)
        yield image


def _upright_rgb(image: ImageFile.ImageFile) -> tuple[Pixels, tuple[str, ...]]:
    sixteen_bits = ";16" in str(image.tile[:1])  # Pillow's name for how the file's samples are packed
    turned = image.format == "TIFF" and _orientation(image) != 1  # Pillow turns these while loading
    image.load()
    notes = ["greyscale: repeated over three channels"] if _is_greyscale(image) else []
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        pixels, done = _from_wide_grey(image)
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
    return pixels, tuple(notes)


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
    pixels = np.empty((image.height, image.width, 3), np.float32)
    see_through = False
    for box in _squares(image.width, image.height):
        square = image.crop(box)
        left, upper, right, lower = box
        target = pixels[upper:lower, left:right]
        if not image.has_transparency_data:
            target[...] = _UNIT[np.asarray(square.convert("RGB"))]
            continue
        if square.mode == "La":
            square = square.convert("LA")
        rgba = np.asarray(square.convert("RGBA"))
        opacity = _UNIT[rgba[..., 3:]]
        see_through = see_through or bool(opacity.min() < 1)
        # Caffe: caffe.io.load_image drops the alpha channel and shows whatever colour is stored beneath.
        target[...] = _UNIT[rgba[..., :3]] * opacity + (1 - opacity)
    if see_through:
        notes.append("transparency laid over white")
    return pixels, notes


def _squares(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    for upper in range(0, height, _SQUARE):
        for left in range(0, width, _SQUARE):
            yield left, upper, min(left + _SQUARE, width), min(upper + _SQUARE, height)


def _from_wide_grey(image: Image.Image) -> tuple[Pixels, list[str]]:
    """Greyscale of more than 8 bits, or of floating-point numbers."""
    values = np.asarray(image)
    tags: Any = getattr(image, "tag_v2", {})  # TIFF's
    notes = []
    if image.mode == "F":
        if not (values.min() >= 0 and values.max() <= 1):  # also false for NaN
            raise PictureError(
                f"expected floating-point values from 0 to 1, found {values.min():g} to {values.max():g}; scale them, "
                f"or save the picture with 8 or 16 bits"
            )
        grey = values.astype(np.float32)
        notes.append("floating point: taken as it is")
    else:
        # 16 but for some cameras' TIFFs of 12. Wider integers say nothing of their scale: 16 bits, if they fit.
        bits = min(tags.get(ExifTags.Base.BitsPerSample, (16,))[0], 16)
        white = 2**bits - 1
        if values.min() < 0 or values.max() > white:
            raise PictureError(
                f"expected values of {bits} bits, from 0 to {white}, found {values.min()} to {values.max()}; save the "
                f"picture with 8 or 16 bits"
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
    return np.ascontiguousarray(pixels)


def _of_several(image: ImageFile.ImageFile) -> list[str]:
    """A note if the file holds more pictures than the first, whose damage would not concern us."""
    with contextlib.suppress(Exception):
        if getattr(image, "is_animated", False):
            moves = image.format in ("GIF", "WEBP", "PNG", "AVIF")
            return ["animation: first frame" if moves else "several pictures in the file: the first"]
    return []


def _too_large(found: str) -> PictureError:
    return PictureError(
        f"expected at most {MAX_PIXELS // 1_000_000} megapixels, found {found} pixels; save the photo smaller"
    )


def _limit(pixels: int) -> None:
    """Bound what this process may take from now on, for a picture of so many pixels."""
    with contextlib.suppress(ImportError):  # Windows
        import resource

        memory, seconds = _memory() + _BYTES + pixels * _BYTES_A_PIXEL, _SECONDS + int(pixels * _SECONDS_A_PIXEL)
        for kind, amount in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds)):
            hard = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (amount if hard == resource.RLIM_INFINITY else min(amount, hard), hard))


def _memory() -> int:
    """Bytes of address space that are taken now, the file once more among them: some decoders hold all of it."""
    taken = 0
    with contextlib.suppress(OSError):  # macOS, which does not enforce the limit either
        taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return taken + os.fstat(0).st_size


def _main(formats: Sequence[str]) -> None:
    _limit(0)
    try:
        pixels, notes = read_pixels(sys.stdin.buffer, formats)
    except PictureError as problem:
        sys.stderr.buffer.write(str(problem).encode("utf-8", "backslashreplace"))
        sys.exit(REFUSED)
    header = {"height": len(pixels), "width": len(pixels[0]), "notes": notes}
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n")
    sys.stdout.buffer.write(pixels.data)


if __name__ == "__main__":
    _main(sys.argv[1:])
